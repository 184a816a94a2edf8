#!/bin/sh
# Sets everything up on a fresh Debian or Ubuntu VM, then runs the demo, the tests, the bench or the conformance cases: what
# `npm run demo`, `npm test`, `npm run bench` and `npm run conformance` call. Plain sh, because nothing is installed yet when it starts.
set -eu
cd "$(dirname "$0")/../.."
mode=${1:?demo, test, bench or conformance}
shift

say() { printf '%s\n' "podwire: $*" >&2; }

if ! node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 15) ? 0 : 1)' 2>/dev/null; then
  say "Node.js 20.15 or newer is needed; this is $(node --version 2>/dev/null || echo none)"
  exit 2
fi

# Installs the Debian packages of the commands that are missing: command=package ...
need() {
  missing=
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
  done
  [ -z "$missing" ] && return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "missing:$missing. Install them (as root: apt-get install$missing)"
    return 1
  fi
  say "installing missing Debian packages:$missing"
  apt-get update -qq >/dev/null 2>&1 || true
  # One by one where the whole set fails: a package that this machine cannot take must not cost the others.
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
    for package in $missing; do
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 ||
        say "could not install $package"
    done
}

need g++=g++ make=make python3=python3 ip=iproute2 nsenter=util-linux sysctl=procps

if [ ! -d node_modules ] || ! cmp -s package-lock.json node_modules/.podwire-lock; then
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/.podwire-lock
fi
addon=src/tun-tap-ts/build/Release/tun_tap.node
if [ ! -e "$addon" ] || [ -n "$(find src/tun-tap-ts/native src/tun-tap-ts/binding.gyp -newer "$addon")" ]; then
  say "building the addon anew: it is missing, or older than its sources"
  rm -rf src/tun-tap-ts/build
  (cd src/tun-tap-ts && npm run --silent install)
fi
say "building"
npm run --silent build

case $mode in
  demo) exec node dist/cli/main.js demo "$@" ;;
  bench)
    need iperf3=iperf3 nft=nftables ping=iputils-ping
    npx tsc -p test/bench
    exec node build/bench/main.js "$@"
    ;;
esac

# Tools that the tests drive; a test whose tool is missing says so, and in CI that is a failure.
need curl=curl ping=iputils-ping nc=netcat-openbsd iperf3=iperf3 iperf=iperf dig=dnsutils traceroute=traceroute socat=socat \
  tcpdump=tcpdump tshark=tshark etcd=etcd-server etcdctl=etcd-client kubectl=kubernetes-client ethtool=ethtool \
  nft=nftables conntrack=conntrack || true
# Runs the tests and leaves a report of them.
run_tests() { npx vitest run --reporter=default --reporter=json --outputFile.json=node_modules/.vitest-report.json "$@"; }
status=0

# Tests that prove a case of Kubernetes' own carry its name; docs/conformance.md is made from how they end.
if [ "$mode" = conformance ]; then
  run_tests --testNamePattern '\[sig-network\]' "$@" || status=1
  npx tsx test/conformance/main.ts write || status=1
  exit "$status"
fi

npm run --silent check
run_tests "$@" || status=$?
node -e '
  const report = JSON.parse(require("node:fs").readFileSync("node_modules/.vitest-report.json", "utf8"));
  const skipped = report.numPendingTests + report.numTodoTests;
  const failed = report.numFailedTests + (report.success || report.numFailedTests ? 0 : 1);
  console.log(`${report.numPassedTests} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
  // On a workplace a test that cannot run says why and is left out; in CI nothing may be.
  const unrun = process.env.CI ? skipped : 0;
  process.exitCode = failed || unrun || report.numPassedTests === 0 ? 1 : 0;
' || status=1
# A run of a part cannot tell about all cases.
[ $# -gt 0 ] || npx tsx test/conformance/main.ts check || status=1
exit "$status"
