#!/usr/bin/env bash
# Runs one real Apache Kafka broker (KRaft, no ZooKeeper) for tests, on free loopback ports.
#
#   kafka.sh start DIR    start, wait until it answers, print host:port; DIR keeps data, logs and ports, so
#                         that a start after a stop or a kill9 finds everything where it was
#   kafka.sh stop DIR     SIGTERM, and SIGKILL after 20 s
#   kafka.sh kill9 DIR    SIGKILL, as a power cut would
#   kafka.sh pause DIR    SIGSTOP: connections stay, answers stop
#   kafka.sh cont DIR     SIGCONT
#
# Needs java 17 or newer, and mvn for the first start (44 MB of jars, kept in target/kafka-jars, or in
# $PEAKPOST_KAFKA_JARS).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jars=${PEAKPOST_KAFKA_JARS:-$here/../../target/kafka-jars}

fail() {
  echo "kafka.sh: $*" >&2
  exit 1
}

# Fetches the jars named by pom.xml, once. Nothing half-fetched is ever taken for whole.
fetch() {
  local wanted fresh
  wanted=$(cksum <"$here/pom.xml")
  [[ -f $jars/of-pom && $(<"$jars/of-pom") == "$wanted" ]] && return
  command -v mvn >/dev/null || fail "mvn is missing; hint: apt-get install maven"
  mkdir -p "$(dirname "$jars")"
  fresh=$(mktemp -d "$jars.XXXXXX")
  timeout 900 mvn -q -B -Dstyle.color=never -f "$here/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$fresh" >&2 || fail "mvn could not fetch Kafka; see above"
  echo "$wanted" >"$fresh/of-pom"
  rm -rf "$jars"
  mv "$fresh" "$jars"
}

# A loopback port nobody listens on, below the range from which the system hands out its own.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
      echo "$port"
      return
    }
  done
  fail "no free port between 20000 and 29999"
}

# The broker's process id, if it is alive and still the broker.
running() {
  local pid
  [[ -f $dir/pid ]] || return 1
  pid=$(<"$dir/pid")
  kill -0 "$pid" 2>/dev/null || return 1
  [[ ! -r /proc/$pid/cmdline ]] || tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$dir/server.properties" || return 1
  echo "$pid"
}

configure() {
  local port=$1 controller=$2 log=org.apache.logging.log4j.core.appender
  cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
num.partitions=12
auto.create.topics.enable=false
# One broker holds the only copy of everything.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# What a scenario removes goes before the next has begun.
log.segment.delete.delay.ms=500
# Tests do not wait for members that do not come, and may ask for short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
  cat >"$dir/log4j2.properties" <<PROPERTIES
status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName=$dir/kafka.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
# Thousands of lines of settings at every start.
logger.settings.name=org.apache.kafka.common.config.AbstractConfig
logger.settings.level=warn
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
PROPERTIES
}

# Formats an empty data folder. The quorum has one voter, named in the configuration.
format() {
  [[ -f $dir/data/meta.properties ]] && return
  local id
  id=k$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
  java -Xmx256m -cp "$jars/*" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" \
    >"$dir/format.log" 2>&1 || fail "formatting failed; see $dir/format.log"
}

# Whether the broker has finished starting and answers an ApiVersions request (key 18, version 0,
# correlation 1, no client id): the reply opens with its length.
answers() {
  local port=$1 length
  grep -q 'Kafka Server started' "$dir/kafka.log" 2>/dev/null || return 1
  length=$(
    exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
    printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff' >&3
    timeout 5 head -c 4 <&3 | od -An -tu1 | tr -d ' \n'
  ) 2>/dev/null || return 1
  [[ -n $length && $length != 0000 ]]
}

start() {
  mkdir -p "$dir"
  running >/dev/null && fail "a broker already runs in $dir; hint: kafka.sh stop $dir"
  fetch
  [[ -f $dir/ports ]] || echo "$(free_port) $(free_port)" >"$dir/ports"
  local port controller
  read -r port controller <"$dir/ports"
  configure "$port" "$controller"
  format
  rm -f "$dir/kafka.log"
  nohup java -Xms256m -Xmx1g -XX:+UseG1GC -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="file:$dir/log4j2.properties" -cp "$jars/*" \
    kafka.Kafka "$dir/server.properties" >"$dir/stdout.log" 2>&1 </dev/null &
  local broker=$!
  echo "$broker" >"$dir/pid"
  for _ in {1..300}; do
    if answers "$port"; then
      echo "127.0.0.1:$port"
      return
    fi
    # By its number alone: on a busy computer it is this shell's copy for a while before it becomes java.
    kill -0 "$broker" 2>/dev/null || {
      tail -n 20 "$dir/stdout.log" "$dir/kafka.log" >&2 || true
      # Another process may have taken a port: the next start of an empty folder picks new ones.
      [[ -d $dir/data/__cluster_metadata-0 ]] || rm -f "$dir/ports"
      fail "the broker ended while starting; see $dir/kafka.log"
    }
    sleep 0.2
  done
  kill -KILL "$(<"$dir/pid")" 2>/dev/null || true
  fail "the broker did not answer within 60 s; see $dir/kafka.log"
}

# Waits up to $2 tenths of a second for process $1 to end.
gone() {
  for ((i = 0; i < $2; i++)); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}

stop() {
  local pid
  pid=$(running) || return 0
  # A paused process does not see SIGTERM.
  kill -CONT "$pid"
  kill -TERM "$pid"
  gone "$pid" 200 || kill9
  rm -f "$dir/pid"
}

kill9() {
  local pid
  pid=$(running) || return 0
  kill -KILL "$pid"
  gone "$pid" 100 || fail "process $pid does not end"
  rm -f "$dir/pid"
}

send_signal() {
  local pid
  pid=$(running) || fail "no broker runs in $dir"
  kill "-$1" "$pid"
}

[[ $# -eq 2 ]] || fail "usage: kafka.sh start|stop|kill9|pause|cont DIR"
case $2 in /*) dir=$2 ;; *) dir=$PWD/$2 ;; esac
case $1 in
  start | stop | kill9) "$1" ;;
  pause) send_signal STOP ;;
  cont) send_signal CONT ;;
  *) fail "unknown command \`$1\`; hint: start, stop, kill9, pause or cont" ;;
esac
