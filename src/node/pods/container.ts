/**
 * One container: a local command that runs in its pod's network and host-name namespaces under a tiny shell, which
 * notes the process and its exit code in files. The shell is not a child that must be waited for, so containers
 * outlive the node process and a restarted one takes them up again (what containerd's shim does for a kubelet).
 */
import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  type FSWatcher,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  watch,
} from "node:fs";
import { join } from "node:path";
import { kill, parseStat, processStartTime } from "../owned.js";
import { SECRETS_PATH } from "./serviceAccount.js";

/**
 * Positional parameters: directory, host name, what to mount as secrets or nothing, then the environment, command and arguments for env(1). Never holds a
 * user's string itself. The process notes its own line of /proc before it becomes the command, so that pid and start
 * time are known for sure. `env` also undoes the shell's ignoring of SIGINT and SIGQUIT in background jobs. What the
 * command leaves running ends with it, as it would in a container with a pid namespace.
 */
const SHIM = `dir=$1; hostname "$2"
[ -z "$3" ] || { mount --bind "$3" ${SECRETS_PATH} && mount -o remount,bind,ro ${SECRETS_PATH}; } || exit 125
shift 3
( read -r stat </proc/self/stat && echo "$stat" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid" &&
  exec env -i --default-signal -- "$@" ) </dev/null &
wait $! 2>/dev/null; code=$?
echo $code >"$dir/exit.new" && mv "$dir/exit.new" "$dir/exit"
kill -9 0`;

/** How often a container that the file watch said nothing of is looked at, in milliseconds. */
const POLL_MS = 500;
/** How long the shell may take to note the exit code of a process that is gone. */
const NOTE_MS = 100;
/** Exit codes above this are the number of the signal that ended the command. */
const SIGNAL_BASE = 128;
const SIGKILL_EXIT = SIGNAL_BASE + 9;
const LAST_SIGNAL = 64;

export interface ContainerSpec {
  /** Directory of this container's files, made if missing: `pid`, `exit`, `log`, `log.previous`. */
  readonly dir: string;
  readonly netns: string;
  /** At most 64 bytes (sethostname(2)). */
  readonly hostname: string;
  readonly command: readonly string[];
  /** The command's whole environment; its PATH finds the command. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Directory that the command sees as its service account's. */
  readonly secretsDir?: string | undefined;
}

export interface ContainerExit {
  readonly exitCode: number;
  readonly signal?: number;
  readonly finishedAtMs: number;
}

export class ContainerProcess {
  readonly pid: number;
  readonly startedAtMs: number;
  readonly #dir: string;
  readonly #startTime: string | undefined;
  #onExit: ((exit: ContainerExit) => void) | undefined;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #noting: NodeJS.Timeout | undefined;

  private constructor(dir: string) {
    const path = join(dir, "pid");
    const { pid, startTime } = parseStat(readFileSync(path, "utf8"));
    this.#dir = dir;
    this.pid = pid;
    this.#startTime = startTime;
    this.startedAtMs = statSync(path).mtimeMs;
  }

  /** Whether the command runs; another process that was given its id does not count. */
  get running(): boolean {
    const now = processStartTime(this.pid);
    return now !== undefined && now === this.#startTime;
  }

  /** Starts the command. Rejects when the shell could not be started; a bad command shows as exit code 126 or 127. */
  static async start(spec: ContainerSpec): Promise<ContainerProcess> {
    checkSpec(spec);
    mkdirSync(spec.dir, { recursive: true, mode: 0o700 });
    for (const name of ["pid", "exit"]) rmSync(join(spec.dir, name), { force: true });
    const log = join(spec.dir, "log");
    if (existsSync(log)) renameSync(log, `${log}.previous`);
    await waitForPid(spec.dir, spawnShim(spec, log));
    return new ContainerProcess(spec.dir);
  }

  /** Takes up a container that an earlier node process started; undefined when none was started there. */
  static adopt(dir: string): ContainerProcess | undefined {
    return existsSync(join(dir, "pid")) ? new ContainerProcess(dir) : undefined;
  }

  /** Calls back once when the command has ended, before it returns if it has already; until then or {@link release}. */
  observe(onExit: (exit: ContainerExit) => void): void {
    this.#onExit = onExit;
    this.#timer = setInterval(() => this.#check(), POLL_MS);
    this.#timer.unref();
    try {
      this.#watcher = watch(this.#dir, () => this.#check());
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch {
      // No watches left, or the directory is gone: the timer still sees the end.
    }
    this.#check();
  }

  /** Sends a signal; false when the command has ended. */
  signal(signal: NodeJS.Signals): boolean {
    return this.running && kill(this.pid, signal);
  }

  /** Stops observing; the process goes on. */
  release(): void {
    this.#onExit = undefined;
    this.#watcher?.close();
    clearInterval(this.#timer);
    clearTimeout(this.#noting);
  }

  #check(): void {
    if (!this.#onExit) return;
    // Asked before the file is looked for: a note may come between the two, but no process.
    const alive = this.running;
    const path = join(this.#dir, "exit");
    if (existsSync(path)) this.#finish(Number(readFileSync(path, "utf8")), statSync(path).mtimeMs);
    else if (!alive) this.#noting ??= setTimeout(() => this.#finishWithoutNote(), NOTE_MS);
  }

  /** The shell itself was killed: nobody wrote the code down. */
  #finishWithoutNote(): void {
    this.#check();
    this.#finish(SIGKILL_EXIT, Date.now());
  }

  #finish(exitCode: number, finishedAtMs: number): void {
    const onExit = this.#onExit;
    if (!onExit) return;
    const signal = exitCode - SIGNAL_BASE;
    this.release();
    onExit({ exitCode, finishedAtMs, ...(signal > 0 && signal <= LAST_SIGNAL ? { signal } : {}) });
  }
}

function checkSpec({ cwd, command: [program = ""] }: ContainerSpec): void {
  if (!statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(`working directory ${cwd} does not exist on this machine`);
  }
  // env(1) would take it for a variable.
  if (program === "" || program.includes("=")) throw new Error(`"${program}" cannot be a command`);
}

function spawnShim(spec: ContainerSpec, log: string): ChildProcess {
  const env = Object.entries(spec.env).map(([name, value]) => `${name}=${value}`);
  const shell = [
    "unshare",
    "--uts",
    "sh",
    "-c",
    SHIM,
    "podwire-shim",
    spec.dir,
    spec.hostname,
    spec.secretsDir ?? "",
    ...env,
    ...spec.command,
  ];
  const logFd = openSync(log, "a", 0o600);
  try {
    const shim = spawn("ip", ["netns", "exec", spec.netns, ...shell], {
      cwd: spec.cwd,
      detached: true,
      stdio: ["ignore", logFd, logFd],
    });
    shim.unref();
    return shim;
  } finally {
    closeSync(logFd);
  }
}

/** Waits for the shell's note of the process; the shell ends before it only when it could not start the command. */
function waitForPid(dir: string, shim: ChildProcess): Promise<void> {
  const path = join(dir, "pid");
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearInterval(timer);
      act();
    };
    const timer = setInterval(() => existsSync(path) && settle(resolve), 5);
    shim.once("error", (error) =>
      settle(() => reject(new Error(`cannot run ip (iproute2): ${error.message}`))),
    );
    shim.once("exit", (code) => {
      if (existsSync(path)) return settle(resolve);
      const words = readFileSync(join(dir, "log"), "utf8").trim().slice(-200);
      settle(() => reject(new Error(`the container could not be started (exit code ${code}): ${words}`)));
    });
  });
}
