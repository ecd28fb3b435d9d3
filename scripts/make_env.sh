#!/usr/bin/env bash
# Makes the project's one environment in .venv from constraints/cpu.lock; does nothing when it stands.
#
#   scripts/make_env.sh            make it, or bring it up to date with the lock
#   scripts/make_env.sh --missing  print the system packages that are still needed, one a line
#
# PYTHON             interpreter to try first (3.11 is needed)
# RL_AVR_ENV_CACHE   folder for environments that outlive a checkout: each lies there under the hash
#                    of its lock, and .venv is a link to it. The editable install in it points at the
#                    one checkout that ran this last; another checkout takes it over when it runs this.
#
# The stamp in the environment says "unfinished" from the first moment and gets the lock's hash as
# the last step, so that an interrupted install is never taken for a whole one: it is built anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

readonly root=$PWD lock=constraints/cpu.lock
readonly torch_cpu_index=https://download.pytorch.org/whl/cpu
lock_hash=$(sha256sum "$lock" | cut -d' ' -f1)
readonly lock_hash

say() { echo "env: $*"; }
die() { printf 'env: %s\n' "$@" >&2; exit 1; }

# ---- what the system must have --------------------------------------------------------------------

is_python311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
has_headers() {  # DeepSpeed and torch compile extensions against these at run time.
  "$1" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

# Sets `python` to the first 3.11 that has venv and headers, else to any 3.11, else to nothing.
find_python() {
  local candidate any=
  for candidate in ${PYTHON:-} $(type -ap python3.11 || true) \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11*/bin/python3.11 python3; do
    is_python311 "$candidate" || continue
    any=${any:-$candidate}
    if has_venv "$candidate" && has_headers "$candidate"; then python=$candidate; return; fi
  done
  python=$any
}

# Prints the Debian package of each thing that is missing.
list_missing() {
  command -v g++ >/dev/null || echo g++
  command -v make >/dev/null || echo make
  command -v git >/dev/null || echo git
  if [ -z "$python" ]; then
    printf '%s\n' python3.11 python3.11-venv python3.11-dev
  else
    has_venv "$python" || echo python3.11-venv
    has_headers "$python" || echo python3.11-dev
  fi
}

check_system() {
  [ "$(uname -sm)" = "Linux x86_64" ] ||
    die "the CPU lock is for Linux x86_64, this is $(uname -sm)." \
      "Install with pip from pyproject.toml instead, with the extra that fits your machine."
  local missing
  missing=$(list_missing | xargs)
  [ -z "$missing" ] || die "missing from the system: $missing" \
    "    apt-get update && apt-get install -y $missing" \
    "Where no python3.11 package exists, install 3.11 with pyenv, or name one: PYTHON=/path/to/python3.11"
}

# ---- the environment ------------------------------------------------------------------------------

stamp_of() { cat "$1/.rl_avr-lock" 2>/dev/null || true; }
is_whole() { [ "$(stamp_of "$1")" = "$lock_hash" ] && "$1/bin/python" -c '' 2>/dev/null; }

# Removes what an older lock or an interrupted run left; never an environment made by other means.
clear_old() {
  [ -e "$1" ] || return 0
  if [ -e "$1/.rl_avr-lock" ]; then rm -rf "$1"; return; fi
  rmdir "$1" 2>/dev/null ||
    die "$1 was not made by this script: move it away or remove it, then run this again."
}

# Runs one stage with its output in a log, which is shown if the stage fails.
stage() {
  local title=$1 start=$SECONDS
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    die "failed: $title"
  fi
  say "$title ($((SECONDS - start)) s)"
}

install_torch() {
  local pin
  pin=$(grep '^torch==' "$lock")
  # A configured index or mirror may have the CPU wheel; the Python package index does not.
  pip_install "$pin" || pip_install --extra-index-url "$torch_cpu_index" "$pin"
}

# vllm's and torch's pins in the lock are meant: without dependencies, nothing is resolved again.
# No build isolation: what has no wheel is built with the setuptools of the lock.
pip_install() { "$env_dir/bin/python" -m pip install --no-deps --no-build-isolation "$@"; }

build() {
  # What packages need to build, before the packages.
  local tools
  tools=$(grep -E '^(pip|setuptools|wheel|packaging|ninja|py-cpuinfo)==' "$lock")
  clear_old "$env_dir"
  mkdir -p "$env_dir"
  echo unfinished >"$env_dir/.rl_avr-lock"
  stage "python: $("$python" -V 2>&1), $env_dir" "$python" -m venv "$env_dir"
  # shellcheck disable=SC2086  # one argument a line
  stage "build tools" pip_install $tools
  stage "$(grep '^torch==' "$lock")" install_torch
  stage "the $(grep -c == "$lock") packages of $lock" pip_install -r "$lock"
  echo "$lock_hash" >"$env_dir/.rl_avr-lock"
}

# Makes the editable install point at this checkout; nothing to do where it already does.
install_checkout() {
  local mark
  mark="$root $(sha256sum pyproject.toml | cut -d' ' -f1)"
  [ "$(cat "$env_dir/.rl_avr-checkout" 2>/dev/null)" = "$mark" ] && return
  rm -f "$env_dir/.rl_avr-checkout"
  stage "rl_avr, editable" pip_install -e .
  echo "$mark" >"$env_dir/.rl_avr-checkout"
}

# ---- run ------------------------------------------------------------------------------------------

python=
if [ "${1:-}" = --missing ]; then
  find_python
  list_missing
  exit
fi

link=
env_dir=$root/.venv
if [ -n "${RL_AVR_ENV_CACHE:-}" ]; then
  mkdir -p "$RL_AVR_ENV_CACHE"
  link=$root/.venv
  env_dir=$(cd "$RL_AVR_ENV_CACHE" && pwd)/${lock_hash:0:16}
elif [ -L .venv ]; then
  # A link made with a cache earlier: use it while it fits the lock.
  if is_whole .venv; then env_dir=$(readlink -f .venv); else rm .venv; fi
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# One run at a time in the folder that holds the environment; the lock goes with the process.
if command -v flock >/dev/null; then
  exec 9<"$(dirname "$env_dir")"
  flock 9
fi

if ! is_whole "$env_dir"; then
  find_python
  check_system
  build
fi
if [ -n "$link" ] && [ "$(readlink "$link" || true)" != "$env_dir" ]; then
  if [ -L "$link" ]; then rm "$link"; else clear_old "$link"; fi
  ln -s "$env_dir" "$link"
fi
install_checkout
say "ready: .venv, lock ${lock_hash:0:16}"
