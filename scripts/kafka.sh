#!/usr/bin/env bash
# Real brokers of Apache Kafka for tests and for trying things out: nodes that are broker and
# controller in one, on 127.0.0.1, with little memory and quick elections. Not for production.
#
#   scripts/kafka.sh start [NODES]    formats and starts them (3), in $KAFKA_DIR, from $KAFKA_PORT on
#   scripts/kafka.sh stop             ends them; what they hold stays
#   scripts/kafka.sh kill N           kill -9 of one
#   scripts/kafka.sh node N           starts one again
#   scripts/kafka.sh status           who runs, and where
#   scripts/kafka.sh quota BYTES      what a client may write to each broker in a second; `none` ends it
#   scripts/kafka.sh wipe             ends them and removes what they hold
#   scripts/kafka.sh fetch            gets Kafka from Maven Central, once
#   scripts/kafka.sh prepare NODES    writes and formats, starts none: what the tests ask for
#   scripts/kafka.sh run N            one node, in this process: likewise
#   scripts/kafka.sh guard            waits for the end of $KAFKA_PARENT, then removes what nodes hold
#
#   KAFKA_DIR    folder of the nodes; by default $TOUCHLINE_CACHE/kafka/nodes
#   KAFKA_PARENT a process with which nodes of `run` end
#   KAFKA_PORT   first of two ports for each node; by default 9092
#   KAFKA_HEAP_MB  heap of each node; by default 256, of which all is collected every 20 s under load, for 0.1 s
#   KAFKA_SECURE if set when nodes are prepared: clients (and brokers among themselves) speak TLS and
#                sign in by SCRAM-SHA-512. Who signs, user and password lie in $KAFKA_DIR/tls: ca.pem,
#                the user `touchline`, password; other-ca.pem has signed nothing. Or by OAUTHBEARER,
#                with an unsecured token of any subject; a session ends with its token
. "$(dirname "$0")/env.sh"

KAFKA_VERSION=4.2.0
KAFKA_DIR="${KAFKA_DIR:-$TOUCHLINE_CACHE/kafka/nodes}"
KAFKA_PORT="${KAFKA_PORT:-9092}"
LIBS="$TOUCHLINE_CACHE/kafka/$KAFKA_VERSION"
# 16 bytes in base64url, as StorageTool wants them; one cluster is like the other here.
CLUSTER_ID=dG91Y2hsaW5lLXRlc3RzIQ
HEAP_MB="${KAFKA_HEAP_MB:-256}"
# What requests leave behind is nearly all of it: most of a large heap is for the young.
[ "$HEAP_MB" -lt 512 ] && HEAP=("-Xms64m") || HEAP=("-Xms${HEAP_MB}m" "-Xmn$((HEAP_MB * 7 / 10))m")
JAVA_OPTIONS=("${HEAP[@]}" "-Xmx${HEAP_MB}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true)

need_brokers() {
    have java || die "there is no java" "scripts/setup.sh all installs it"
    [ -f "$LIBS/.complete" ] && return 0
    have mvn || die "there is no mvn" "scripts/setup.sh all installs it"
    say "kafka: fetching Kafka $KAFKA_VERSION from Maven Central"
    rm -rf "$LIBS"
    mkdir -p "$LIBS"
    # Quiet as it is told to be, it still colours nothing.
    timeout 900 mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies \
        -DoutputDirectory="$LIBS" -DincludeScope=runtime >"$LIBS/fetch.log" 2>&1 \
        || die "Kafka could not be fetched: see $LIBS/fetch.log" \
            "is the network there? scripts/kafka.sh can simply be run again"
    touch "$LIBS/.complete"
}

broker_port() { echo $((KAFKA_PORT + 2 * ($1 - 1))); }

# Who signs certificates, the brokers' own certificate, and passwords: made anew for each cluster.
make_secrets() {
    local tls="$KAFKA_DIR/tls" name
    [ ! -f "$tls/password" ] || return 0
    have openssl || die "there is no openssl" "install it: certificates are made with it"
    mkdir -p "$tls"
    (
        cd "$tls"
        for name in ca other-ca; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
                -subj "/CN=Touchline tests, $name" -keyout "$name.key" -out "$name.pem"
        done
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -subj "/CN=broker" -keyout broker.key -out broker.csr
        openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -days 30 \
            -extfile <(echo "subjectAltName=IP:127.0.0.1") -out broker.crt
        cat broker.key broker.crt >broker.pem
        openssl rand -hex 16 >broker-password
        openssl rand -hex 16 >password
    ) >"$tls/log" 2>&1 || die "certificates could not be made" "see $tls/log"
}

# What a broker's file holds where clients sign in.
secure_properties() {
    local tls="$KAFKA_DIR/tls"
    cat <<END
sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="broker" password="$(cat "$tls/broker-password")";
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms=60000
ssl.keystore.type=PEM
ssl.keystore.location=$tls/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$tls/ca.pem
END
}

# configure N NODES
configure() {
    local node="$1" nodes="$2" voters="" n copies protocol=PLAINTEXT
    [ -z "${KAFKA_SECURE:-}" ] || protocol=SASL_SSL
    for n in $(seq "$nodes"); do
        voters="$voters${voters:+,}$n@127.0.0.1:$(($(broker_port "$n") + 1))"
    done
    copies=$((nodes < 3 ? nodes : 3))
    mkdir -p "$KAFKA_DIR/$node"
    cat >"$KAFKA_DIR/$node/server.properties" <<END
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=$protocol://127.0.0.1:$(broker_port "$node"),CONTROLLER://127.0.0.1:$(($(broker_port "$node") + 1))
advertised.listeners=$protocol://127.0.0.1:$(broker_port "$node")
controller.listener.names=CONTROLLER
inter.broker.listener.name=$protocol
listener.security.protocol.map=CONTROLLER:PLAINTEXT,$protocol:$protocol
log.dirs=$KAFKA_DIR/$node/data
auto.create.topics.enable=false
offsets.topic.replication.factor=$copies
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=1
offsets.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=1
background.threads=2
log.cleaner.dedupe.buffer.size=4194304
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=500
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
replica.lag.time.max.ms=3000
controlled.shutdown.enable=true
END
    [ -z "${KAFKA_SECURE:-}" ] || secure_properties >>"$KAFKA_DIR/$node/server.properties"
}

# format N USERS...: by Kafka's own tool for the first node, whose two files the others get under numbers
# of their own: a Java for each would take longer than the brokers' start.
format() {
    local node="$1" first="$KAFKA_DIR/1" data="$KAFKA_DIR/$1/data" directory
    shift
    if [ "$node" = 1 ]; then
        java "${JAVA_OPTIONS[@]}" -cp "$LIBS/*" kafka.tools.StorageTool format \
            -t "$CLUSTER_ID" -c "$first/server.properties" "$@" >"$first/format.log" 2>&1 \
            || die "node 1 could not be formatted" "see $first/format.log"
        return
    fi
    # 16 bytes in base64url, like the cluster's.
    directory="$(printf 'directory-no-%03d' "$node" | base64 | tr -d '=')"
    mkdir -p "$data"
    cp "$first/data/bootstrap.checkpoint" "$data/"
    sed -e "s/^node.id=.*/node.id=$node/" -e "s/^directory.id=.*/directory.id=$directory/" \
        "$first/data/meta.properties" >"$data/meta.properties"
}

prepare() {
    local nodes="$1" n users=()
    need_brokers
    mkdir -p "$KAFKA_DIR"
    [ -z "${KAFKA_PARENT:-}" ] || echo "$KAFKA_PARENT" >"$KAFKA_DIR/parent"
    if [ -n "${KAFKA_SECURE:-}" ]; then
        make_secrets
        for n in broker touchline; do
            local file="$KAFKA_DIR/tls/password"
            [ "$n" = touchline ] || file="$KAFKA_DIR/tls/broker-password"
            users+=(--add-scram "SCRAM-SHA-512=[name=$n,password=$(cat "$file")]")
        done
    fi
    for n in $(seq "$nodes"); do
        configure "$n" "$nodes"
        [ -f "$KAFKA_DIR/$n/data/meta.properties" ] || format "$n" "${users[@]}"
    done
    echo "$nodes" >"$KAFKA_DIR/nodes"
}

# Removes what all hold, unless the next has come to the same folder. It is moved first: a node that
# is about to end may still write.
remove_folder() {
    local gone="$KAFKA_DIR.of-$KAFKA_PARENT"
    if [ "$(cat "$KAFKA_DIR/parent" 2>/dev/null)" = "$KAFKA_PARENT" ]; then
        mv "$KAFKA_DIR" "$gone" 2>/dev/null || true
    fi
    for _ in $(seq 20); do
        rm -rf "$gone" 2>/dev/null && return
        sleep 0.5
    done
}

# Ends the node, and removes what all hold, once the process $KAFKA_PARENT is gone.
end_with_parent() {
    while kill -0 $$ 2>/dev/null; do
        if ! kill -0 "$KAFKA_PARENT" 2>/dev/null; then
            kill -9 $$
            remove_folder
            return
        fi
        sleep 0.5
    done
}

# The same where no node may run that could do it.
guard() {
    while kill -0 "${KAFKA_PARENT:?whose nodes}" 2>/dev/null; do sleep 0.5; done
    remove_folder
}

run() {
    need_brokers
    [ -z "${KAFKA_PARENT:-}" ] || end_with_parent >/dev/null 2>&1 &
    exec java "${JAVA_OPTIONS[@]}" -cp "$LIBS/*" kafka.Kafka "$KAFKA_DIR/$1/server.properties"
}

is_running() { [ -f "$KAFKA_DIR/$1/pid" ] && kill -0 "$(cat "$KAFKA_DIR/$1/pid")" 2>/dev/null; }

start_node() {
    is_running "$1" && return 0
    (run "$1" >>"$KAFKA_DIR/$1/broker.log" 2>&1 </dev/null & echo $! >"$KAFKA_DIR/$1/pid")
}

await_node() {
    local n
    for n in $(seq 300); do
        (exec 3<>"/dev/tcp/127.0.0.1/$(broker_port "$1")") 2>/dev/null && return 0
        is_running "$1" || die "node $1 has ended" "see $KAFKA_DIR/$1/broker.log"
        sleep 0.1
    done
    die "node $1 doesn't listen after 30 s" "see $KAFKA_DIR/$1/broker.log"
}

nodes() { cat "$KAFKA_DIR/nodes" 2>/dev/null || die "there are no nodes in $KAFKA_DIR" "scripts/kafka.sh start"; }

stop() {
    local n
    for n in $(seq "$(nodes)"); do
        is_running "$n" && kill "$(cat "$KAFKA_DIR/$n/pid")" 2>/dev/null || true
    done
    for n in $(seq "$(nodes)"); do
        for _ in $(seq 100); do
            is_running "$n" || break
            sleep 0.1
        done
        ! is_running "$n" || kill -9 "$(cat "$KAFKA_DIR/$n/pid")" 2>/dev/null || true
        rm -f "$KAFKA_DIR/$n/pid"
    done
}

status() {
    local n state
    for n in $(seq "$(nodes)"); do
        is_running "$n" && state="runs, process $(cat "$KAFKA_DIR/$n/pid")" || state="doesn't run"
        say "node $n: 127.0.0.1:$(broker_port "$n"): $state"
    done
}

# Brokers slow down whoever writes more: they answer, and then don't listen to that client for a while.
quota() {
    local change=(--add-config "producer_byte_rate=$1")
    [ "$1" != none ] || change=(--delete-config producer_byte_rate)
    java "${JAVA_OPTIONS[@]}" -cp "$LIBS/*" kafka.admin.ConfigCommand \
        --bootstrap-server "127.0.0.1:$(broker_port 1)" --alter \
        --entity-type clients --entity-default "${change[@]}"
}

case "${1:-}" in
    start)
        prepare "${2:-3}"
        for n in $(seq "$(nodes)"); do start_node "$n"; done
        for n in $(seq "$(nodes)"); do await_node "$n"; done
        status
        ;;
    stop) stop ;;
    kill) kill -9 "$(cat "$KAFKA_DIR/${2:?which node}/pid")" ;;
    node) start_node "${2:?which node}" && await_node "$2" ;;
    status) status ;;
    quota) quota "${2:?how many bytes a second, or none}" ;;
    wipe) nodes >/dev/null && stop && rm -rf "$KAFKA_DIR" ;;
    fetch) need_brokers ;;
    prepare) prepare "${2:-3}" ;;
    run) run "${2:?which node}" ;;
    guard) guard ;;
    *) sed -n '2,23s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
