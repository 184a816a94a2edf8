/**
 * The network policies and what they speak of, kept on disk: a node process that starts while the API is away isolates
 * its pods as the one before it did.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { Namespace, NetworkPolicy, Pod } from "../kube/index.js";

export interface Remembered {
  readonly policies: readonly NetworkPolicy[];
  /** All pods that policies may choose or name, the node's own among them. */
  readonly pods: readonly Pod[];
  readonly namespaces: readonly Namespace[];
}

/** Changes come in bursts; this is what a `kill -9` may lose of the last one. */
const WRITE_AFTER_MS = 100;

export class PolicyMemory {
  readonly #path: string;
  readonly #read: () => Remembered;
  readonly #failed: (error: Error) => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param read what is to be kept now; without policies nothing is */
  constructor(path: string, read: () => Remembered, failed: (error: Error) => void) {
    this.#path = path;
    this.#read = read;
    this.#failed = failed;
  }

  /** What an earlier process knew; undefined when it knew of no policies, or its file cannot be read. */
  load(): Remembered | undefined {
    try {
      return JSON.parse(readFileSync(this.#path, "utf8")) as Remembered;
    } catch {
      return undefined;
    }
  }

  /** Something that is to be kept has changed. */
  changed(): void {
    this.#timer ??= setTimeout(() => this.#write(), WRITE_AFTER_MS);
  }

  stop(): void {
    if (this.#timer) this.#write();
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = this.#read();
    try {
      if (now.policies.length > 0) {
        writeFileSync(`${this.#path}.new`, JSON.stringify(now), { mode: 0o600 });
        renameSync(`${this.#path}.new`, this.#path);
      } else rmSync(this.#path, { force: true });
    } catch (error) {
      this.#failed(error as Error);
    }
  }
}
