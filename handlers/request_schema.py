"""What a served model takes and gives, as JSON Schema and as an OpenAPI document.

The document is of this one model: its features, columns, options and limits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torchtowers.handlers.encoders import (
    BooleanEncoder,
    Encoder,
    HashedWordsEncoder,
    TimestampEncoder,
    VectorEncoder,
    WeightedListEncoder,
    WordsEncoder,
)
from torchtowers.handlers.limits import Limits

__all__ = [
    "Schema",
    "answer_schema",
    "openapi",
    "options_schema",
    "ranking_schema",
    "row_schema",
]

Schema = dict[str, Any]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ID: Schema = {"type": ["string", "integer"]}
_ERROR: Schema = {
    "type": "object",
    "required": ["code", "type", "message"],
    "properties": {
        "code": {"type": "integer", "description": "the HTTP status; over gRPC it stands here only"},
        "type": {"type": "string"},
        "message": {"type": "string", "description": "what is wrong, what came, what was expected"},
        "field": {"type": "string", "description": "the field that is to blame"},
    },
}


def feature_schema(encoder: Encoder) -> Schema:
    """Describe a feature's values in a request; null, like leaving it out, is a missing value."""
    described = {"description": encoder.expected}
    if isinstance(encoder, WeightedListEncoder):
        pair = {"type": "array", "prefixItems": [_ID, {"type": "number"}], "minItems": 2, "maxItems": 2}
        weights = {"type": "object", "additionalProperties": {"type": "number"}}
        return {**described, "anyOf": [weights, {"type": "array", "items": pair}, {"type": "null"}]}
    if isinstance(encoder, VectorEncoder):
        width = {"minItems": encoder.width, "maxItems": encoder.width}
        return {**described, "type": ["array", "null"], "items": {"type": "number"}, **width}
    if isinstance(encoder, WordsEncoder | HashedWordsEncoder):
        return {**described, "type": ["string", "null"]}
    if encoder.is_list:
        return {**described, "type": ["array", "null"], "items": _ID}
    if isinstance(encoder, TimestampEncoder):
        most = encoder.latest * encoder.per_second
        return {**described, "type": ["number", "string", "null"], "minimum": 0, "maximum": most}
    if isinstance(encoder, BooleanEncoder):
        return {**described, "type": ["boolean", "integer", "null"], "enum": [False, True, 0, 1, None]}
    kinds = {"number": ["number"], "string": ["string", "integer"]}[encoder.dtype]
    return {**described, "type": [*kinds, "null"]}


def _required(schema: Schema) -> Schema:
    """Take null from what a feature may be, and the empty text, which is a missing value, too."""
    kinds = [kind for kind in schema.get("type", ()) if kind != "null"]
    return {**schema, "type": kinds, **({"minLength": 1} if "string" in kinds else {})}


def row_schema(
    fields: Mapping[str, Encoder], required: Iterable[str], options: Mapping[str, Schema]
) -> Schema:
    """Describe one row of a request in the plain dialect: features, and options beside them.

    Args:
        fields: The features that it may hold.
        required: Those that it has to.
        options: By name; null for one is that it is not set.
    """
    needed = list(required)
    features = {name: feature_schema(encoder) for name, encoder in fields.items()}
    options = {name: {**schema, "type": [schema["type"], "null"]} for name, schema in options.items()}
    parameters = {
        "type": ["object", "null"],
        "description": "the same options",
        "additionalProperties": False,
        "properties": {**options, "binary_data_output": {"description": "is passed over"}},
    }
    return {
        "$schema": _DRAFT,
        "type": "object",
        "required": needed,
        "additionalProperties": False,
        "properties": {
            **features,
            **{name: _required(features[name]) for name in needed},
            **options,
            "parameters": parameters,
        },
    }


def options_schema(limits: Limits, columns: Mapping[str, str], *, has_history: bool) -> dict[str, Schema]:
    """Describe the options of a retrieval row.

    Args:
        limits: What is allowed.
        columns: Item columns, each with its kind: `text`, `number` or `other`.
        has_history: Whether the history can be excluded.
    """
    options: dict[str, Schema] = {
        "k": {
            "type": "integer",
            "minimum": 1,
            "maximum": limits.max_k,
            "default": min(limits.default_k, limits.max_k),
        },
        "exclude": {"type": "array", "items": _ID, "maxItems": limits.max_exclude},
        "include": {"type": "array", "items": _ID, "maxItems": limits.max_include},
        "min_score": {"type": "number"},
    }
    if has_history:
        options["exclude_history"] = {"type": "boolean", "default": False}
    if columns:
        names = list(columns)
        options["fields"] = {"type": "array", "items": {"enum": names}}
        options["filter"] = {
            "type": "object",
            "maxProperties": limits.max_filter_columns,
            "additionalProperties": False,
            "properties": {name: _condition(kind, limits) for name, kind in columns.items()},
        }
        options["diversity"] = {
            "type": "object",
            "description": "at most how many items of one value of the column",
            "maxProperties": limits.max_diversity_columns,
            "additionalProperties": False,
            "properties": {name: {"type": "integer", "minimum": 1} for name in names},
        }
    return options


def _condition(kind: str, limits: Limits) -> Schema:
    kinds = {"number": ["number"], "text": ["string"]}.get(kind, ["string", "number", "boolean"])
    value: Schema = {"type": kinds}
    choices = [value, {"type": "array", "items": value, "maxItems": limits.max_filter_values}]
    if kind == "number":
        bound = {"type": "object", "properties": {"min": value, "max": value}, "additionalProperties": False}
        choices.append({**bound, "minProperties": 1})
    return {"anyOf": choices, "description": "equal to, one of, or within"}


def ranking_schema(
    fields: Mapping[str, Encoder],
    required: Iterable[str],
    item: Mapping[str, Encoder],
    key: str,
    limits: Limits,
) -> Schema:
    """Describe one row of a request to a ranking model in the plain dialect.

    Args:
        fields: The query's features.
        required: Those that a row has to hold.
        item: The features that a candidate may have.
        key: The one of them that is its id.
        limits: What is allowed.
    """
    id_ = {**_ID, "minLength": 1}
    features = {
        "type": "object",
        "required": [key],
        "additionalProperties": False,
        "properties": {**{name: feature_schema(encoder) for name, encoder in item.items()}, key: id_},
    }
    candidates = {
        "type": "array",
        "items": {"anyOf": [id_, features]},
        "minItems": 1,
        "maxItems": limits.max_candidates,
    }
    k = {"type": "integer", "minimum": 1, "description": "at most the number of candidates"}
    row = row_schema(fields, required, {"candidates": candidates, "k": k})
    listed = {"required": ["candidates"], "properties": {"candidates": {"type": "array"}}}
    under = {"required": ["parameters"], "properties": {"parameters": {"type": "object", **listed}}}
    return {**row, "anyOf": [listed, under]}


def answer_schema(columns: Sequence[str] = ()) -> Schema:
    """Describe the answer to one row."""
    properties: dict[str, Schema] = {
        "items": {"type": "array", "items": {"type": "string"}, "description": "best first"},
        "scores": {"type": "array", "items": {"type": "number"}},
    }
    if columns:
        listed = {name: {"type": "array", "description": "a value for each item"} for name in columns}
        properties["fields"] = {"type": "object", "properties": listed}
    return {"$schema": _DRAFT, "type": "object", "required": ["items", "scores"], "properties": properties}


def openapi(name: str, version: str, row: Schema, answer: Schema) -> Schema:
    """Give the OpenAPI 3.1 document of a served model's REST routes.

    Args:
        name: The model's name.
        version: Its version.
        row: Of `row_schema`.
        answer: Of `answer_schema`.
    """
    row, answer = ({key: value for key, value in of.items() if key != "$schema"} for of in (row, answer))

    def of(schema: str) -> Schema:
        return {"$ref": f"#/components/schemas/{schema}"}

    def content(schema: Schema) -> Schema:
        return {"application/json": {"schema": schema}}

    def post(summary: str, asked: Schema, given: Schema) -> Schema:
        errors = {
            code: {"description": text, "content": content(of("Error"))}
            for code, text in (
                ("400", "a field, an option or the body is wrong; or the token is"),
                ("413", "the body or the answer is larger than allowed"),
                ("500", "a fault of the server's in this one request"),
                ("503", "the queue is full: wait and ask again"),
            )
        }
        answered = {"200": {"description": "the answer", "content": content(given)}, **errors}
        body = {"required": True, "content": content(asked)}
        return {"post": {"summary": summary, "requestBody": body, "responses": answered}}

    return {
        "openapi": "3.1.0",
        "info": {"title": f"{name}, served by TorchServe", "version": version},
        "security": [{"token": []}],
        "paths": {
            f"/predictions/{name}": post(
                "One row, or several as instances",
                {"anyOf": [of("Row"), of("Instances"), of("OpenInferenceRequest")]},
                {"anyOf": [of("Answer"), of("Predictions"), of("OpenInferenceAnswer")]},
            ),
            f"/v1/models/{name}:predict": post(
                "TensorFlow Serving and KServe v1", of("Instances"), of("Predictions")
            ),
            f"/v2/models/{name}/infer": post(
                "Open Inference (KServe v2)", of("OpenInferenceRequest"), of("OpenInferenceAnswer")
            ),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Row": row,
                "Answer": answer,
                "Instances": _listed("instances", of("Row"), open_to_more=True),
                "Predictions": _listed("predictions", of("Answer")),
                "Tensor": _TENSOR,
                "OpenInferenceRequest": _listed("inputs", of("Tensor"), open_to_more=True),
                "OpenInferenceAnswer": _listed("outputs", of("Tensor"), open_to_more=True),
                "Error": _ERROR,
            },
        },
    }


_TENSOR: Schema = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"enum": ["BOOL", "BYTES", "FP32", "FP64", "INT32", "INT64"]},
        "data": {"type": "array"},
    },
}


def _listed(name: str, element: Schema, *, open_to_more: bool = False) -> Schema:
    listed: Schema = {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "array", "items": element}},
    }
    if not open_to_more:
        listed["additionalProperties"] = False
    return listed
