#!/usr/bin/env bash
# A release in steps, from training to a signed archive that has answered requests; see --help and docs/release.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
dir=${RELEASE_DIR:-build/release}
name=${RELEASE_NAME:-movielens}
version=${RELEASE_VERSION:-1.0}
config=${RELEASE_CONFIG:-configs/movielens-retrieval.yaml}
read -ra overrides <<< "${RELEASE_OVERRIDES-training.epochs=2}"
request=${RELEASE_REQUEST:-'{"user_id": "196", "k": 10}'}
server_config=${RELEASE_SERVER_CONFIG:-config.properties}
# No process that is started here inherits the private key.
export -n RELEASE_SIGNING_KEY

steps=(train export verify build lint reproduce reexport sign check serve publish)
step=
state=
scratch=$(mktemp -d)

usage() {
    cat <<'END'
usage: release.sh STEP...     from the folder of the checkout; `release.sh all` does all but install

  install     install torchtowers and what the other steps need into the Python on the PATH
  train       train the model                            -> run/
  export      export it                                  -> artifact/
  verify      compare the artifact with the trained model's answers once more
  build       build the archive, unsigned                -> unsigned/NAME.mar, unsigned/SHA256SUMS
  lint        find what would go wrong on a server
  reproduce   build it again from the artifact, in other surroundings: the bytes have to be the same
  reexport    export the run again, in other surroundings, and build: the bytes have to be the same
  sign        sign it                                    -> signed/NAME.mar, signed/NAME.mar.sig
  check       verify its content and its signature by the public key
  serve       start TorchServe, which checks the signature too, and ask it over REST and gRPC
  publish     put together what is given away            -> published/

environment (defaults):
  RELEASE_DIR            where all of it goes (build/release)
  RELEASE_NAME           the model's name (movielens)
  RELEASE_VERSION        its version (1.0)
  RELEASE_CONFIG         what to train (configs/movielens-retrieval.yaml)
  RELEASE_OVERRIDES      settings in place of the configuration's (training.epochs=2)
  RELEASE_REQUEST        what the server is asked ({"user_id": "196", "k": 10})
  RELEASE_SERVER_CONFIG  TorchServe's settings; its ports are replaced by free ones (config.properties)
  RELEASE_SIGNING_KEY    the private key, its PEM text and not a path
  RELEASE_PUBLIC_KEY     the public keys that are trusted, PEM text likewise
Without the last two, a key is made in RELEASE_DIR/key. Where serve fails, RELEASE_DIR/server-logs says more.
END
}

main() {
    case "${1:-}" in
        -h | --help) usage; return ;;
        '') usage >&2; return 2 ;;
    esac
    if [ "$*" = all ]; then
        set -- "${steps[@]}"
    fi
    local known=" install ${steps[*]} " asked
    for asked in "$@"; do
        if [[ $known != *" $asked "* ]]; then
            echo "release.sh: unknown step $asked; known, besides all by itself:$known" >&2
            return 2
        fi
    done
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd -P)
    # Nothing temporary is left anywhere, nor found by others.
    export TMPDIR=$scratch
    for step in "$@"; do
        echo "== $step" >&2
        "step_$step"
    done
    step=
}

finish() {
    local code=$?
    trap '' EXIT INT TERM
    if [ -n "$state" ]; then
        torchtowers serve stop --state "$state" 2> /dev/null || true
        rm -rf "$dir/server-logs"
        cp -R "$state/logs" "$dir/server-logs" 2> /dev/null || true
    fi
    rm -rf "$scratch"
    if [ -n "$step" ]; then
        echo "release.sh: step $step failed with exit code $code" >&2
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "release.sh: $1" >&2
    return 1
}

# By default MKL's kernels and the number of threads go by the machine, and with them how the index is rounded.
export_run() {
    MKL_CBWR=COMPATIBLE OMP_NUM_THREADS=1 torchtowers export "$1" --out "$2"
}

build() {
    torchtowers archive build "$1" --name "$name" --version "$version" --export-path "$2" --force
}

elsewhere() (
    umask 077
    export TZ=Pacific/Kiritimati LC_ALL=C PYTHONHASHSEED=7 ATEN_CPU_CAPABILITY=default
    "$@"
)

require_same() {
    local folder
    for folder in "$dir/unsigned" "$1"; do
        if ! (cd "$folder" && sha256sum --check "$dir/unsigned/SHA256SUMS"); then
            torchtowers archive diff "$dir/unsigned/$name.mar" "$1/$name.mar" || true
            fail "$folder/$name.mar is not what $dir/unsigned/SHA256SUMS says: the build does not reproduce"
        fi
    done
}

# Leaves the public keys that are trusted in $scratch/trusted.pub.
trust() {
    if [ -z "${RELEASE_PUBLIC_KEY+set}" ]; then
        cp "$dir/key/release.key.pub" "$scratch/trusted.pub"
    elif [ -n "$RELEASE_PUBLIC_KEY" ]; then
        printf '%s\n' "$RELEASE_PUBLIC_KEY" > "$scratch/trusted.pub"
    else
        fail "RELEASE_PUBLIC_KEY is empty: it has to be the PEM text of the keys that are trusted"
    fi
}

# Free ports of the loopback, below those that outgoing connections are given.
free_ports() {
    python - << 'END'
import contextlib, random, socket

keys = [f"{api}_address=http://127.0.0.1:" for api in ("inference", "management", "metrics")]
keys += [f"grpc_{api}_address=127.0.0.1\ngrpc_{api}_port=" for api in ("inference", "management")]
held = []
for port in random.sample(range(15000, 32000), 1000):
    with contextlib.suppress(OSError):
        held.append(socket.create_server(("127.0.0.1", port)))
        print(f"{keys[len(held) - 1]}{port}")
    if len(held) == len(keys):
        break
END
}

step_install() {
    python -m pip install --quiet --disable-pip-version-check \
        --constraint requirements/constraints.txt '.[serve,onnx,release]'
}

step_train() {
    torchtowers train "$config" --out "$dir/run" --overwrite "${overrides[@]}"
}

step_export() {
    export_run "$dir/run" "$dir/artifact"
}

step_verify() {
    torchtowers export verify "$dir/artifact"
}

step_build() {
    build "$dir/artifact" "$dir/unsigned"
    (cd "$dir/unsigned" && sha256sum "$name.mar" > SHA256SUMS)
}

step_lint() {
    torchtowers archive lint "$dir/unsigned/$name.mar"
}

step_reproduce() {
    cp -R "$dir/artifact" "$scratch/copy"
    find "$scratch/copy" -exec touch -d '2001-02-03 04:05:06' {} +
    elsewhere build "$scratch/copy" "$scratch/reproduced"
    require_same "$scratch/reproduced"
}

step_reexport() {
    elsewhere export_run "$dir/run" "$scratch/artifact"
    elsewhere build "$scratch/artifact" "$scratch/reexported"
    require_same "$scratch/reexported"
}

step_sign() {
    (cd "$dir/unsigned" && sha256sum --check SHA256SUMS)
    local key=$dir/key/release.key
    if [ -z "${RELEASE_SIGNING_KEY+set}" ]; then
        [ -e "$key" ] || torchtowers archive keygen "$key"
    elif [ -n "$RELEASE_SIGNING_KEY" ]; then
        key=$scratch/release.key
        # By the shell itself, so that it is on no command line; nobody else may look into $scratch.
        printf '%s\n' "$RELEASE_SIGNING_KEY" > "$key"
    else
        fail "RELEASE_SIGNING_KEY is empty: it has to be the PEM text of the private key"
    fi
    rm -rf "$dir/signed"
    mkdir "$dir/signed"
    cp "$dir/unsigned/$name.mar" "$dir/signed"
    torchtowers archive sign "$dir/signed/$name.mar" --key "$key"
}

step_check() {
    trust
    [ -f "$dir/signed/$name.mar.sig" ] || fail "$dir/signed/$name.mar.sig is missing: sign the archive"
    torchtowers archive verify "$dir/signed/$name.mar" --public-key "$scratch/trusted.pub"
}

step_serve() {
    trust
    # Of two lines with one key the last one counts.
    { cat "$server_config"; echo; free_ports; } > "$scratch/config.properties"
    # Of this call alone, so that no other server is stopped in its place.
    state=$scratch/server
    TORCHTOWERS_PUBLIC_KEY=$scratch/trusted.pub torchtowers serve start --model-store "$dir/signed" \
        --models "$name" --config "$scratch/config.properties" --state "$state"
    python "$here/probe.py" "$dir/artifact" "$name" "$request" --state "$state"
    torchtowers serve stop --state "$state"
    state=
}

step_publish() {
    trust
    local to=$dir/published
    rm -rf "$to"
    mkdir "$to"
    cp "$dir/signed/$name.mar" "$dir/signed/$name.mar.sig" "$to"
    cp "$scratch/trusted.pub" "$to/$name.pub"
    python -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
        "$to/$name.mar" bill-of-materials.cdx.json > "$to/$name.cdx.json"
    (cd "$to" && sha256sum "$name".* > SHA256SUMS && cat SHA256SUMS)
}

main "$@"
