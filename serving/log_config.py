"""How TorchServe logs when we start it."""

__all__ = ["LOG_CONFIG"]

# TorchServe's own configuration writes every line two or three times, one of them to an output that grows
# without end, and several lines for every request. Here a request has one line, in the access log.
LOG_CONFIG = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Written anew by every start. For one of your own, set in config.properties:
     vmargs=-Dlog4j.configurationFile=file:///... -->
<Configuration status="error">
  <Properties>
    <Property name="logs">${env:LOG_LOCATION:-logs}</Property>
    <Property name="metrics">${env:METRICS_LOCATION:-logs}</Property>
    <Property name="line">%d{ISO8601} [%-5p] %t %c - %m%n</Property>
  </Properties>
  <Appenders>
    <Console name="console" target="SYSTEM_OUT"><PatternLayout pattern="${line}"/></Console>
    <RollingFile name="access" fileName="${logs}/access_log.log" filePattern="${logs}/access_log.%i.log.gz">
      <PatternLayout pattern="%d{ISO8601} - %m%n"/>
      <SizeBasedTriggeringPolicy size="50 MB"/><DefaultRolloverStrategy max="5"/>
    </RollingFile>
    <RollingFile name="server" fileName="${logs}/ts_log.log" filePattern="${logs}/ts_log.%i.log.gz">
      <PatternLayout pattern="${line}"/>
      <SizeBasedTriggeringPolicy size="50 MB"/><DefaultRolloverStrategy max="5"/>
    </RollingFile>
    <RollingFile name="model" fileName="${logs}/model_log.log" filePattern="${logs}/model_log.%i.log.gz">
      <PatternLayout pattern="${line}"/>
      <SizeBasedTriggeringPolicy size="50 MB"/><DefaultRolloverStrategy max="5"/>
    </RollingFile>
    <RollingFile name="metrics" fileName="${metrics}/metrics.log" filePattern="${metrics}/metrics.%i.log.gz">
      <PatternLayout pattern="%d{ISO8601} - %m%n"/>
      <SizeBasedTriggeringPolicy size="50 MB"/><DefaultRolloverStrategy max="5"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="info" additivity="false"><AppenderRef ref="access"/></Logger>
    <Logger name="MODEL_LOG" level="info" additivity="false">
      <RegexFilter regex="Backend received inference at: .*" onMatch="DENY" onMismatch="NEUTRAL"/>
      <AppenderRef ref="model"/>
    </Logger>
    <Logger name="MODEL_METRICS" level="info" additivity="false"><AppenderRef ref="metrics"/></Logger>
    <Logger name="TS_METRICS" level="info" additivity="false"><AppenderRef ref="metrics"/></Logger>
    <Logger name="org.pytorch.serve" level="info" additivity="false"><AppenderRef ref="server"/></Logger>
    <!-- These log every request or batch. -->
    <Logger name="org.pytorch.serve.wlm.BatchAggregator" level="warn"/>
    <Logger name="org.pytorch.serve.wlm.WorkerLifeCycle" level="warn"/>
    <Logger name="org.pytorch.serve.wlm.WorkerThread" level="info" additivity="false">
      <RegexFilter regex="(Looping b|B)ackend response .*" onMatch="DENY" onMismatch="NEUTRAL"/>
      <AppenderRef ref="server"/>
    </Logger>
    <Logger name="io.netty" level="error"/>
    <Logger name="org.apache" level="off"/>
    <Root level="warn"><AppenderRef ref="console"/></Root>
  </Loggers>
</Configuration>
"""
