#!/bin/bash
# Everything that is measured beside somebody else, in one run: agents' messages beside a stock OCS server, fragments beside nginx.
#
#   benches/compare/run.sh [SECONDS] [ROUNDS] [CLIENTS]
#
# Needs what benches/compare/agents.sh and benches/serve.sh need.
set -euo pipefail
cd "$(dirname "$0")/../.."
. benches/lib.sh
benches/compare/agents.sh "${1:-5}" "${2:-3}" "${3:-8}"
echo
about benches/serve.sh "${1:-5}" "${2:-3}"
DRIPFEED=$dripfeed benches/serve.sh "${1:-5}" "${2:-3}"
