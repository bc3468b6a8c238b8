#!/usr/bin/env bash
# Build the images, start compose.yaml under a name of its own, draw one picture, take everything down again.
# Skips (status 0) where no docker engine answers; fails where one does and anything goes wrong.
set -euo pipefail
cd "$(dirname "$0")/.."
healthy_seconds=600

skip() {
    echo "compose-smoke: skipped, $1"
    exit 0
}
command -v docker >/dev/null || skip "docker is not installed"
docker info >/dev/null 2>&1 || skip "no docker engine answers"
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    skip "neither docker compose nor docker-compose is installed"
fi

work=$(mktemp -d)
python3 deploy/new_env.py "$work/env"
# Any free port: a stack of one's own may be running on 50051.
sed -i.bak 's/^WAN_LISTEN=.*/WAN_LISTEN=127.0.0.1:/' "$work/env"
compose+=(--env-file "$work/env" --project-name wanimage-smoke)
finish() {
    status=$?
    if [ "$status" -ne 0 ]; then
        "${compose[@]}" ps || true
        "${compose[@]}" logs --tail=40 || true
    fi
    "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

"${compose[@]}" build
"${compose[@]}" up -d
for service in planner enhancer visualizer vae refiner; do
    container=$("${compose[@]}" ps -q "$service")
    until [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ]; do
        if [ "$SECONDS" -gt "$healthy_seconds" ]; then
            echo "compose-smoke: $service is not healthy after $healthy_seconds s" >&2
            exit 1
        fi
        sleep 2
    done
    echo "compose-smoke: $service is healthy after $SECONDS s"
done
WAN_API_KEY=$("${compose[@]}" run --rm operator keys create smoke)
export WAN_API_KEY
.venv/bin/wan generate "draw a red balloon" --address "$("${compose[@]}" port planner 50051)" --out "$work/out" --json
find "$work/out" -name '*.png' | grep -q . || { echo "compose-smoke: no picture came back" >&2; exit 1; }
echo "compose-smoke: passed in $SECONDS s"
