#!/bin/sh
# Start SeaweedFS with one S3 identity a service and the bucket they share. Keys come from the environment,
# so no secret lies in the repository. Works with the `weed` of the image and of the wheel.
set -eu
data=${S3_DATA:-/data}
bucket=${S3_BUCKET:-wanimage}
config=${S3_CONFIG:-/tmp/s3.json}
made=${S3_BUCKET_MADE:-/tmp/bucket-made}
master=${S3_MASTER:-127.0.0.1:9333}

# A service lists the trash alone (a read that misses a blob looks there): a blob's name is the digest of its bytes, and
# whoever was not told it cannot read it.
identity() { # NAME ACCESS_KEY SECRET_KEY [WHAT_IT_LISTS]
    printf '{"name":"%s","credentials":[{"accessKey":"%s","secretKey":"%s"}],' "$1" "$2" "$3"
    printf '"actions":["Read:%s","Write:%s","List:%s"]}' "$bucket" "$bucket" "$bucket${4-/.trash/*}"
}

umask 077
{
    printf '{"identities":['
    identity planner "$PLANNER_S3_ACCESS_KEY" "$PLANNER_S3_SECRET_KEY"
    printf ','
    identity enhancer "$ENHANCER_S3_ACCESS_KEY" "$ENHANCER_S3_SECRET_KEY"
    printf ','
    identity visualizer "$VISUALIZER_S3_ACCESS_KEY" "$VISUALIZER_S3_SECRET_KEY"
    printf ','
    identity vae "$VAE_S3_ACCESS_KEY" "$VAE_S3_SECRET_KEY"
    printf ','
    identity refiner "$REFINER_S3_ACCESS_KEY" "$REFINER_S3_SECRET_KEY"
    printf ','
    identity operator "$OPERATOR_S3_ACCESS_KEY" "$OPERATOR_S3_SECRET_KEY" ""
    printf ']}\n'
} >"$config"

# No identity may create buckets: the bucket is made here, once a volume server has joined the master (before
# that, the first upload would wait for it). Health waits for $made.
ask() { # COMMAND: of the shell of weed
    echo "$1" | weed shell -master="$master" 2>/dev/null
}
rm -f "$made"
(
    until ask volume.list | grep -q '(volume:[0-9]*/[1-9]'; do sleep 1; done
    until ask s3.bucket.list | grep -qw "$bucket"; do ask "s3.bucket.create -name $bucket" >/dev/null || sleep 1; done
    : >"$made"
) &

# Only the S3 gateway listens to others: the filer and the master behind it ask for no keys.
exec weed -logtostderr server -dir="$data" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -filer -s3 -s3.ip.bind="${S3_BIND:-0.0.0.0}" -s3.port="${S3_PORT:-8333}" -s3.config="$config" -s3.iam=false \
    -s3.port.iceberg=0 -s3.port.lance=0 -volume.max=32 -master.volumeSizeLimitMB=1024 \
    -master.telemetry=false -volume.preStopSeconds=0 "$@"
