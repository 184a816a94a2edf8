/** Container logs: whole, from the end, and followed across restarts and to the pod's end. */
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LogOptions, readLog } from "../../src/node/logs.js";

let dir: string;
let path: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "podwire-logs-")), "main");
  mkdirSync(dir);
  path = join(dir, "log");
});
afterEach(() => rmSync(join(dir, ".."), { recursive: true, force: true }));

async function whole(options?: LogOptions): Promise<string> {
  let text = "";
  for await (const block of readLog(path, options)) text += block.toString("latin1");
  return text;
}

describe("a log", () => {
  it("of a container that never ran is empty", async () => {
    expect(await whole()).toBe("");
    expect(await whole({ tailLines: 3 })).toBe("");
  });

  it.each([
    ["a\nb\nc\n", 2, "b\nc\n"],
    ["a\nb\nc", 2, "b\nc"],
    ["a\nb\nc\n", 0, ""],
    ["a\nb\nc\n", 9, "a\nb\nc\n"],
    ["\n\n\n", 2, "\n\n"],
  ])("%j has the last %i lines %j", async (text, tailLines, expected) => {
    writeFileSync(path, text);
    expect(await whole({ tailLines })).toBe(expected);
  });

  it("has the last lines that splitting it gives, however long it is", async () => {
    const line = fc.nat(40_000).map((length) => "x".repeat(length));
    const log = fc.tuple(fc.array(line, { maxLength: 8 }), fc.boolean());
    await fc.assert(
      fc.asyncProperty(log, fc.nat(9), async ([lines, ended], tailLines) => {
        const text = lines.join("\n") + (ended && lines.length > 0 ? "\n" : "");
        writeFileSync(path, text);
        const split = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
        expect(await whole({ tailLines })).toBe(tailLines === 0 ? "" : split.slice(-tailLines).join(""));
        expect(await whole()).toBe(text);
      }),
      { numRuns: 40 },
    );
  });
});

/** Follows the log; `until` resolves when the text has been seen. */
class Follower {
  text = "";
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #wake = () => {};

  constructor(options: LogOptions = {}) {
    this.#done = this.#read({ ...options, follow: true, signal: this.#abort.signal });
  }

  async #read(options: LogOptions): Promise<void> {
    for await (const block of readLog(path, options)) {
      this.text += block.toString();
      this.#wake();
    }
  }

  async until(text: string): Promise<void> {
    while (!this.text.includes(text)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  abort(): Promise<void> {
    this.#abort.abort();
    return this.#done;
  }

  get ended(): Promise<void> {
    return this.#done;
  }
}

describe("a follower", () => {
  it("sees what is appended, from the last lines on", async () => {
    writeFileSync(path, "one\ntwo\n");
    const follower = new Follower({ tailLines: 1 });
    await follower.until("two\n");
    appendFileSync(path, "three\n");
    await follower.until("three\n");
    await follower.abort();
    expect(follower.text).toBe("two\nthree\n");
  });

  it("waits for a log that does not exist yet, nor its directory", async () => {
    rmSync(dir, { recursive: true });
    const follower = new Follower();
    // It must leave the event loop to others while it waits.
    await new Promise((resolve) => setImmediate(resolve));
    mkdirSync(dir);
    writeFileSync(path, "late\n");
    await follower.until("late\n");
    await follower.abort();
  });

  it("reads the old file to its end, then the new one, when the container is started again", async () => {
    writeFileSync(path, "first run\n");
    const follower = new Follower();
    await follower.until("first run\n");
    for (let run = 2; run < 6; run++) {
      // All at once: the follower has no chance to read between the last line and the new file.
      appendFileSync(path, `last words ${run}\n`);
      renameSync(path, `${path}.previous`);
      writeFileSync(path, `run ${run}\n`);
      await follower.until(`run ${run}\n`);
    }
    await follower.abort();
    const later = [2, 3, 4, 5].flatMap((run) => [`last words ${run}`, `run ${run}`]);
    expect(follower.text.trim().split("\n")).toEqual(["first run", ...later]);
  });

  it("starts a new file of the same length from its beginning", async () => {
    writeFileSync(path, "aaaa\n");
    const follower = new Follower();
    await follower.until("aaaa\n");
    rmSync(path);
    writeFileSync(path, "bbbb\n");
    await follower.until("bbbb\n");
    await follower.abort();
    expect(follower.text).toBe("aaaa\nbbbb\n");
  });

  it("ends when the pod is removed", async () => {
    writeFileSync(path, "bye\n");
    const follower = new Follower();
    await follower.until("bye\n");
    rmSync(dir, { recursive: true });
    await follower.ended;
    expect(follower.text).toBe("bye\n");
  });

  it("ends at once when it is aborted before it began", async () => {
    writeFileSync(path, "x\n");
    expect(await whole({ follow: true, signal: AbortSignal.abort() })).toBe("x\n");
  });
});
