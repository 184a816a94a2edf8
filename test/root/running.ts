/** A `podwire` that runs on while the test goes on: what it has printed so far, and its end by a signal. */
import { type ChildProcess, spawn } from "node:child_process";
import { eventually, ROOT, type TestLab } from "./lab.js";

export class Running {
  stdout = "";
  stderr = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;

  constructor(lab: TestLab, ...args: string[]) {
    this.#child = spawn(process.execPath, [`${ROOT}/dist/cli/main.js`, ...args], {
      env: lab.env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stdout?.on("data", (chunk) => {
      this.stdout += String(chunk);
    });
    this.#child.stderr?.on("data", (chunk) => {
      this.stderr += String(chunk);
    });
    this.#ended = new Promise((resolve) => this.#child.once("close", (code) => resolve(code ?? -1)));
  }

  get lines(): string[] {
    return this.stdout.split("\n").slice(0, -1);
  }

  /** Resolves when standard output fits; `act` is done again before each look. */
  async prints(pattern: RegExp, act: () => Promise<unknown> = async () => {}): Promise<void> {
    const look = async () => {
      await act();
      return { stdout: this.stdout, stderr: this.stderr };
    };
    await eventually(`${pattern}`, look, ({ stdout }) => pattern.test(stdout), 30_000);
  }

  /** Ends it as Ctrl-C does; resolves with the exit code. */
  end(signal: NodeJS.Signals = "SIGINT"): Promise<number> {
    this.#child.kill(signal);
    return this.#ended;
  }

  /** Resolves with the exit code when it ends by itself. */
  get ended(): Promise<number> {
    return this.#ended;
  }
}
