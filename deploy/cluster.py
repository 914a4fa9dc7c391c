"""``make up``, ``make down``, ``make logs``: a local cluster to try the project with.

With a container engine it is ``docker-compose.yml``; without one, plain processes: accountd, the
simulator (unless a provider key is set) and two gateways that share a port for ws and one for wss.
All files that it makes are in ``var/``. A second ``make up`` starts only what does not run.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from deploy import noted
from deploy.certificate import ensure
from deploy.ports import check_free, port_setting
from deploy.process import (
    BIN,
    LOG,
    RUN,
    SPOOL,
    VAR,
    ClusterError,
    Service,
    environment,
    running_pid,
    stop,
    write_private,
)
from deploy.providers import PREFIXES, PROVIDERS, describe, real, simulated
from deploy.snippet import render

ROOT = Path(__file__).resolve().parent.parent
SECRETS = VAR / "secrets"
DB_KEY, ENV_FILE = SECRETS / "db.key", VAR / "cluster.env"
EPHEMERAL_SECRET, DEMO_KEY = SECRETS / "ephemeral.secret", SECRETS / "demo.key"
TLS = VAR / "tls"
TLS_CERT, TLS_KEY = TLS / "cert.pem", TLS / "key.pem"
COMPOSE_CERT = Path("deploy/tls/cert.pem")

GATEWAYS = 2
PORT = port_setting("RTS_PORT", 8080)
TLS_PORT = port_setting("RTS_TLS_PORT", 8443)
SIMULATOR_PORT = port_setting("RTS_SIMULATOR_PORT", 8090)
OPS_PORT = port_setting("RTS_OPS_PORT", 9100)  # accountd's; the gateways' are the next ones
MODELS_FILE = os.environ.get("RTS_MODELS_FILE", "")

# Runs in the compose service `key`, which also makes the other secrets. That service runs as root,
# because the folder of the secrets belongs to root.
_KEEP = """
import os, pathlib, sys
key = pathlib.Path("/gateway/demo.key")
new = key.with_suffix(".new")
new.touch(0o400)
os.chown(new, 10001, 10001)
new.write_text(sys.stdin.read())
new.rename(key)
"""

Accountctl = Callable[..., "subprocess.CompletedProcess[str]"]


def say(line: str) -> None:
    """Print a line of progress."""
    click.echo(f"  {line}")


# --- plain processes ------------------------------------------------------------------------------


def services() -> Iterator[Service]:
    """The services, in the order of their start."""
    yield Service(
        "accountd", ("accountd", "serve"), f"http://127.0.0.1:{OPS_PORT}/readyz",
        {**database_env(), "ACCOUNTD_OPS_LISTEN": f"127.0.0.1:{OPS_PORT}"},
    )  # fmt: skip
    providers = simulated(os.environ, f"http://127.0.0.1:{SIMULATOR_PORT}")
    if providers:
        command = ("rts-simulator", "serve", "--listen", f"127.0.0.1:{SIMULATOR_PORT}")
        yield Service(
            "simulator", (*command, "--usage-log", str(VAR / "usage.jsonl")),
            f"http://127.0.0.1:{SIMULATOR_PORT}/readyz",
        )  # fmt: skip
    for number in range(1, GATEWAYS + 1):
        ops = f"127.0.0.1:{OPS_PORT + number}"
        env = {
            **providers,
            "GATEWAY_LISTEN": f"127.0.0.1:{PORT}",
            "GATEWAY_TLS_LISTEN": f"127.0.0.1:{TLS_PORT}",
            "GATEWAY_TLS_CERT": str(TLS_CERT),
            "GATEWAY_TLS_KEY": str(TLS_KEY),
            "GATEWAY_REUSE_PORT": "yes",
            "GATEWAY_OPS_LISTEN": ops,
            "GATEWAY_PAGE": "yes",
            "GATEWAY_EPHEMERAL_SECRET_FILE": str(EPHEMERAL_SECRET),
            "GATEWAY_DEMO_KEY_FILE": str(DEMO_KEY),
            **models_env(),
            "GATEWAY_SPOOL_DIR": str(SPOOL),  # shared: a gateway adopts the journal of a killed one
        }
        yield Service(f"gateway-{number}", ("rts-gateway", "serve"), f"http://{ops}/readyz", env)


def database_env() -> dict[str, str]:
    """The variables with the database's path and key."""
    return {"DB_PATH": str(VAR / "accounts.db"), "DB_ENCRYPTION_KEY_FILE": str(DB_KEY)}


def models_env() -> dict[str, str]:
    """The variable with the models file, where there is one."""
    return {"GATEWAY_MODELS_FILE": str(ROOT / MODELS_FILE)} if MODELS_FILE else {}


def start_processes() -> None:
    """Start every service that does not run; on failure stop those that this call started."""
    check_ports()
    for folder in (VAR, RUN, LOG, SPOOL, SECRETS, TLS):
        folder.mkdir(mode=0o700, exist_ok=True)
    make_secrets()
    is_renewal = TLS_CERT.exists()
    if ensure(TLS_CERT, TLS_KEY):
        say(f"made a self-signed certificate for localhost: {TLS_CERT}")
        if is_renewal:
            reload_certificate()
    if running_pid("accountd") is None:
        migrate()
    begun: list[str] = []
    try:
        for service in services():
            is_new = service.start()
            begun += [service.name] if is_new else []
            service.wait_ready()
            say(f"{service.name} {'is ready' if is_new else 'is already running'}")
    except BaseException:
        for name in reversed(begun):
            stop(name)
        raise


def make_secrets() -> None:
    """Make the secrets that are not there, never one that something lives by which was there."""
    data = [p for p in VAR.glob("accounts.db*") if p.suffix != ".lock" and p.stat().st_size]
    if data and not DB_KEY.exists():
        raise ClusterError(
            f"found {min(data)} and no {DB_KEY}, the key that opens it, and no other one does: put"
            " that key back, or restore a backup and the key that it was made with; to begin anew,"
            f" move {VAR}/accounts.db* away"
        )
    gateways = [f"gateway-{number}" for number in range(1, GATEWAYS + 1)]
    running = [name for name in gateways if running_pid(name) is not None]
    if running and not EPHEMERAL_SECRET.exists():
        raise ClusterError(
            f"found no {EPHEMERAL_SECRET}, with which {' and '.join(running)} sign ephemeral keys:"
            " put it back, or run make down first; keys of before are refused then"
        )
    for secret, purpose in (
        (DB_KEY, "database key"),
        (EPHEMERAL_SECRET, "secret for ephemeral keys"),
    ):
        if not secret.exists():
            write_private(secret, secrets.token_hex(32))
            say(f"made a random {purpose}: {secret}")


def check_ports() -> None:
    """Refuse ports on which another program listens, before a service is started."""
    absent = [service.name for service in services() if running_pid(service.name) is None]
    gateways = [f"gateway-{number}" for number in range(1, GATEWAYS + 1)]
    if set(gateways) <= set(absent):  # a gateway of ours that runs shares its port with the next
        check_free(PORT, variable="RTS_PORT")
        check_free(TLS_PORT, variable="RTS_TLS_PORT")
    if "simulator" in absent:
        check_free(SIMULATOR_PORT, variable="RTS_SIMULATOR_PORT")
    for port, name in enumerate(("accountd", *gateways), start=OPS_PORT):
        if name in absent:
            check_free(port, variable="RTS_OPS_PORT")


def reload_certificate() -> None:
    """Make running gateways load the new certificate (SIGHUP)."""
    for number in range(1, GATEWAYS + 1):
        if (pid := running_pid(f"gateway-{number}")) is not None:
            os.kill(pid, signal.SIGHUP)


def migrate() -> None:
    """Create the database or bring it to the newest schema."""
    done = subprocess.run(
        [str(BIN / "accountd"), "migrate"],
        env=environment(database_env()), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ClusterError(done.stderr.strip())
    say(f"database: {', '.join(done.stdout.split(chr(10))).rstrip(', ')}")


def accountctl_process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run accountctl for a cluster of processes."""
    return subprocess.run(
        [str(BIN / "accountctl"), *arguments],
        env=environment({"ACCOUNTD_RPC_ENDPOINT": f"ipc://{RUN}/rpc.sock"}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def keep_demo_key_process(key: str) -> None:
    """Write the key of the demo's account where the gateways read it."""
    write_private(DEMO_KEY, key)


# --- containers -----------------------------------------------------------------------------------


def has_engine() -> bool:
    """Whether a container engine answers. ``RTS_ENGINE=process|docker`` decides otherwise."""
    wanted = os.environ.get("RTS_ENGINE")
    if wanted:
        return wanted == "docker"
    if shutil.which("docker") is None:
        return False
    try:
        return all(
            subprocess.run(["docker", *words], capture_output=True, timeout=10, check=False)
            .returncode == 0
            for words in (["info"], ["compose", "version"])
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False


def start_containers() -> None:
    """Build and start docker-compose.yml."""
    env = {k: v for k, v in os.environ.items() if v or not k.startswith(PREFIXES)}
    for provider in PROVIDERS:
        if key_file := env.get(f"{provider.key}_FILE"):
            raise ClusterError(
                f"{provider.key}_FILE does not reach the containers, whose user could not read it;"
                f' run env -u {provider.key}_FILE {provider.key}="$(cat {key_file})" make up,'
                " or RTS_ENGINE=process make up"
            )
    if MODELS_FILE:
        raise ClusterError(
            "RTS_MODELS_FILE does not reach the containers: mount it with a"
            " docker-compose.override.yml (docs/OPERATIONS.md, Models),"
            " or run RTS_ENGINE=process make up"
        )
    VAR.mkdir(mode=0o700, exist_ok=True)
    if real(env):  # with a real provider the simulator, compose's default, serves none
        for provider in PROVIDERS:
            env.setdefault(provider.key, "")
            env.setdefault(provider.url, "")
    say("docker compose up (the first build takes a few minutes)")
    words = ["up", "-d", "--build", "--wait", "--scale", f"gateway={GATEWAYS}"]
    if subprocess.run(["docker", "compose", *words], env=env, check=False).returncode:
        raise ClusterError("docker compose up failed; see above, or: docker compose logs")


def accountctl_container(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run accountctl in accountd's container."""
    command = ["docker", "compose", "exec", "-T", "accountd", "accountctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def keep_demo_key_container(key: str) -> None:
    """Write the key of the demo's account where the gateways read it; only root may write there."""
    command = ["docker", "compose", "run", "--rm", "-T", "--no-deps", "key", "python", "-c", _KEEP]
    done = subprocess.run(command, input=key, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"the demo's key cannot be stored: {done.stderr.strip()}")


# --- the demo account -----------------------------------------------------------------------------


def demo_account(accountctl: Accountctl, cert: Path) -> dict[str, str]:
    """The values of ``var/cluster.env``, made anew unless the database has their key."""
    known = read_env()
    account_id = known.get("ACCOUNT_ID", "demo")
    keys = accountctl("key", "list", account_id, "--json")
    if keys.returncode:
        create = ("--email", "demo@example.org", "--id", account_id, "--plan", "Pro")
        ask(accountctl, "account", "create", *create, "--topup", "10000")
        say(f"made an account: {account_id}")
    if not is_known(known.get("API_KEY", ""), keys):
        known["API_KEY"] = str(
            ask(accountctl, "key", "create", account_id, "--label", "demo")["key"]
        )
        say("made an API key")
    values = {
        "GATEWAY_URL": f"ws://127.0.0.1:{PORT}",
        "GATEWAY_URL_TLS": f"wss://localhost:{TLS_PORT}",
        "CA_FILE": str(ROOT / cert),
        "API_KEY": known["API_KEY"],
        "ACCOUNT_ID": account_id,
    }
    write_private(ENV_FILE, "".join(f"{name}={value}\n" for name, value in values.items()))
    return values


def is_known(key: str, listed: "subprocess.CompletedProcess[str]") -> bool:
    """Whether a key is among an account's live keys."""
    if not key or listed.returncode:
        return False
    keys = json.loads(listed.stdout)["keys"]
    return any(k["key_indicator"][-5:] == key[-5:] and not k["revoked_at"] for k in keys)


def ask(accountctl: Accountctl, *arguments: str) -> dict[str, Any]:
    """The JSON answer of accountctl; raises ``ClusterError`` with accountctl's message."""
    done = accountctl(*arguments, "--json")
    if done.returncode:
        raise ClusterError(f"accountctl {' '.join(arguments[:2])}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def read_env() -> dict[str, str]:
    """The values in ``var/cluster.env``; empty when there is no such file."""
    if not ENV_FILE.exists():
        return {}
    lines = ENV_FILE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


# --- commands -------------------------------------------------------------------------------------


@click.group()
def cli() -> None:
    """Run a local cluster."""
    os.chdir(ROOT)


@cli.command()
def up() -> None:
    """Start the cluster and wait until it is ready."""
    in_containers = has_engine()
    click.echo(f"starting a cluster ({'docker compose' if in_containers else 'plain processes'})")
    try:
        (start_containers if in_containers else start_processes)()
        values = demo_account(
            accountctl_container if in_containers else accountctl_process,
            COMPOSE_CERT if in_containers else TLS_CERT,
        )
        (keep_demo_key_container if in_containers else keep_demo_key_process)(values["API_KEY"])
        if not in_containers:
            say(noted.note(ROOT))
    except ClusterError as exc:
        click.echo(f"make up: {exc}", err=True)
        sys.exit(1)
    for line in describe(os.environ):
        say(line)
    ctl = "docker compose exec accountd accountctl" if in_containers else f"{BIN}/accountctl"
    click.echo(render(values, accountctl=ctl.replace(f"{ROOT}/", "")))


@cli.command()
def down() -> None:
    """Stop what ``up`` started."""
    noted.forget(ROOT)
    if RUN.exists():
        names = [path.stem for path in sorted(RUN.glob("*.json"), reverse=True)]
        # accountd stops last: gateways deliver their usage while they stop.
        ordered = sorted(names, key=lambda name: name == "accountd")
        stopped = [name for name in ordered if stop(name)]
        click.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    elif not has_engine():
        click.echo("nothing was running")
    if has_engine():
        sys.exit(subprocess.run(["docker", "compose", "down"], check=False).returncode)


@cli.command()
def logs() -> None:
    """Follow the logs."""
    paths = sorted(str(path) for path in LOG.glob("*.log")) if LOG.exists() else []
    command = ["docker", "compose", "logs", "-f"] if has_engine() else ["tail", "-F", *paths]
    if not paths and command[0] == "tail":
        sys.exit("no logs yet; run: make up")
    try:
        sys.exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    cli()
