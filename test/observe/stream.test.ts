import { Writable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { BatchedLineStream } from "../../src/observe/index.js";

/** A reader that takes each batch only when told to. */
class SlowReader extends Writable {
  readonly batches: string[] = [];
  #pending: (() => void)[] = [];

  constructor(private readonly automatic = false) {
    super({ highWaterMark: 1, decodeStrings: false });
  }

  get text(): string {
    return this.batches.join("");
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.batches.push(chunk);
    if (this.automatic) done();
    else this.#pending.push(done);
  }

  release(): void {
    for (const done of this.#pending.splice(0)) done();
  }
}

describe("the batched line stream", () => {
  it("writes the lines of one turn at once", async () => {
    const reader = new SlowReader(true);
    const lines = new BatchedLineStream(reader);
    lines.line("one");
    lines.line("two");
    expect(reader.batches).toEqual([]);
    await turn();
    lines.line("three");
    await turn();
    expect(reader.batches).toEqual(["one\ntwo\n", "three\n"]);
  });

  it("does not wait for the turn's end when 16 KiB have come together", () => {
    const reader = new SlowReader(true);
    const lines = new BatchedLineStream(reader);
    for (let i = 0; i < 100; i++) lines.line("x".repeat(255));
    expect(reader.batches.map((batch) => batch.length)).toEqual([16384]);
  });

  it("keeps lines while the reader is slow, drops those beyond the limit, and says how many", async () => {
    const reader = new SlowReader();
    const lines = new BatchedLineStream(reader, { limitChars: 20 });
    lines.line("first");
    await turn();
    for (const text of ["kept 1", "kept 2", "too long for what is left", "short", "short"]) lines.line(text);
    await turn();
    expect(reader.batches).toEqual(["first\n"]);
    reader.release();
    await turn();
    expect(reader.batches[1]).toBe("kept 1\nkept 2\n(3 lines dropped: the reader is too slow)\n");
    lines.line("after");
    reader.release();
    await turn();
    expect(reader.batches[2]).toBe("after\n");
  });

  it("loses no last lines at the end, and counts the dropped ones", async () => {
    const reader = new SlowReader();
    const lines = new BatchedLineStream(reader, {
      limitChars: 10,
      droppedLine: (count) => `{"dropped":${count}}`,
    });
    lines.line("first");
    await turn();
    lines.line("last");
    lines.line("one too many");
    let ended = false;
    const end = lines.end().then(() => {
      ended = true;
    });
    await turn();
    expect(ended).toBe(false);
    for (let i = 0; i < 4; i++) {
      reader.release();
      await turn();
    }
    await end;
    expect(reader.text).toBe('first\nlast\n{"dropped":1}\n');
    expect(reader.writableEnded).toBe(false);
    lines.line("behind the end");
    await turn();
    expect(reader.text).not.toContain("behind");
  });

  it("goes on quietly when the reader has gone", async () => {
    const reader = new SlowReader();
    const lines = new BatchedLineStream(reader);
    lines.line("first");
    await turn();
    reader.destroy(new Error("EPIPE"));
    lines.line("second");
    await turn();
    lines.line("third");
    await lines.end();
    expect(reader.batches).toEqual(["first\n"]);
  });

  it("ends when the reader goes while it waits", async () => {
    const reader = new SlowReader();
    const lines = new BatchedLineStream(reader);
    lines.line("first");
    const end = lines.end();
    reader.destroy();
    await end;
    expect(reader.batches).toEqual(["first\n"]);
  });
});
