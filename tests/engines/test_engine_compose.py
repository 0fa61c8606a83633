"""docker compose v2: five services that wait for each other, on two networks, with pyoci as it is with runc."""

import engine_place
import pytest

pytestmark = pytest.mark.needs("root", "init", "shim", "libseccomp", "busybox", "runc", "engines", "compose")

FILE = """
name: five-%(rt)s
x-common: &common {image: bb, runtime: %(runtime)s, stop_grace_period: 1s}
services:
  db:
    <<: *common
    command: httpd -f -p 80 -h /www
    networks: [back]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "wget", "-qO-", "http://127.0.0.1/"], interval: 300ms, retries: 20}
  once:
    <<: *common
    command: sh -c 'echo made >/data/file; wget -qO- http://db/'
    networks: [back]
    volumes: ["data:/data"]
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *common
    command: sh -c 'cat /data/file /run/secrets/word /settings; exec httpd -f -p 8080 -h /www'
    networks: [front, back]
    ports: ["127.0.0.1::8080"]
    volumes: ["data:/data:ro"]
    secrets: [word]
    configs: [{source: settings, target: /settings}]
    depends_on: {once: {condition: service_completed_successfully}}
  cache:
    <<: *common
    command: sleep 1000
    init: true
    read_only: true
    tmpfs: ["/scratch:size=1m"]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    ulimits: {nofile: 200, sigpending: {soft: 100, hard: 200}}
    mem_limit: 64m
    pids_limit: 33
    sysctls: {net.ipv4.ip_unprivileged_port_start: 42}
    networks: [back]
  worker:
    <<: *common
    command: sh -c 'wget -qO- http://web:8080/; echo worked; exec sleep 1000'
    networks: [front]
    environment: {WORD: value}
    user: app
    scale: 2
    depends_on: {web: {condition: service_started}, cache: {condition: service_started}}
networks: {front: {}, back: {internal: true}}
volumes: {data: {}}
secrets: {word: {file: ./word}}
configs: {settings: {file: ./settings}}
"""
STORY = """
c="COMPOSE -p five-$RT_NAME -f five-$RT_NAME.yaml --progress quiet"
$c up -d || exit 1
until [ "$($c logs --no-log-prefix worker | grep -c worked)" = 2 ]; do :; done
$c ps -a --format '{{.Service}} {{.State}} {{.ExitCode}}' | sort
for service in once web worker; do $c logs --no-log-prefix $service | sort; done
$c exec -T cache portrait | grep -v '^where'
$c exec -T worker sh -c 'id; echo $WORD'
$c run --rm -T once cat /data/file
$c restart -t 0 worker; $c up -d --scale worker=3; $c ps -q worker | wc -l
$c pause db; $c ps --format '{{.Service}} {{.State}}' db; $c unpause db
$c kill -s KILL cache; $c ps -a --format '{{.Service}} {{.State}} {{.ExitCode}}' cache
$c down -v -t 1; $c ps -aq | wc -l
"""


def test_five_services_are_as_under_runc(docker):
    folder = docker.place.folder
    (folder / "word").write_text("secret\n")
    (folder / "settings").write_text("settings\n")
    for name, runtime in docker.runtimes.items():
        (folder / f"five-{name}.yaml").write_text(FILE % {"rt": name, "runtime": runtime})
    docker.same(STORY.replace("COMPOSE", engine_place.compose()), r"^worker running 0\n(.*\n)*hello from busybox\n(.*\n)*db paused\n")
