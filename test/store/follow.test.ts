import { describe, expect, it } from "vitest";
import {
  CompactedError,
  deleteKey,
  follow,
  MemoryStore,
  putKey,
  type Store,
  StoreUnavailableError,
  type WatchOptions,
} from "../../src/store/index.js";

const NOTHING = new Uint8Array(0);

/** Follows "p/" and writes down what it is told; `done` is asked after each line. */
async function lines(
  store: Store,
  done: (lines: readonly string[]) => void | Promise<void>,
  abort: AbortController,
) {
  const told: string[] = [];
  const tell = (line: string) => {
    told.push(line);
    return done(told);
  };
  const handlers = {
    onSnapshot: (kvs: readonly { key: string }[], revision: number) =>
      tell(`snapshot ${revision}: ${kvs.map(({ key }) => key).join(" ")}`),
    onEvents: (events: readonly { type: string; kv: { key: string } }[], revision: number) =>
      tell(`events ${revision}: ${events.map(({ type, kv }) => `${type} ${kv.key}`).join(" ")}`),
    onTrouble: (error: Error) => {
      told.push(error.name);
    },
  };
  await follow(store, "p/", handlers, abort.signal);
  return told;
}

/** A store whose watches fail, one error for each, before they work. */
class FailingStore extends MemoryStore {
  constructor(
    private readonly errors: Error[],
    private readonly beforeFailing: () => void,
  ) {
    super();
  }

  override async *watch(key: string, options?: WatchOptions) {
    const error = this.errors.shift();
    if (error !== undefined) {
      this.beforeFailing();
      throw error;
    }
    yield* super.watch(key, options);
  }
}

describe("follow", () => {
  it("tells what is there, then what comes", async () => {
    const store = new MemoryStore();
    const abort = new AbortController();
    await putKey(store, "p/a", NOTHING);
    const told = await lines(
      store,
      async ({ length }) => {
        if (length === 1) await putKey(store, "p/b", NOTHING);
        if (length === 2) await deleteKey(store, "p/a");
        if (length === 3) abort.abort();
      },
      abort,
    );
    expect(told).toEqual(["snapshot 2: p/a", "events 3: put p/b", "events 4: delete p/a"]);
  });

  it("lists again when the history is gone or the store was away", async () => {
    const abort = new AbortController();
    const errors = [new CompactedError(9), new StoreUnavailableError("there", "gone")];
    const store = new FailingStore(errors, () => void putKey(store, `p/${errors.length}`, NOTHING));
    const told = await lines(store, (soFar) => (soFar.length === 5 ? abort.abort() : undefined), abort);
    expect(told).toEqual([
      "snapshot 1: ",
      "CompactedError",
      "snapshot 2: p/1",
      "StoreUnavailableError",
      "snapshot 3: p/0 p/1",
    ]);
  });

  it("passes on the errors of its handlers, and ends with its store", async () => {
    const store = new MemoryStore();
    const broken = lines(store, () => Promise.reject(new Error("broken handler")), new AbortController());
    await expect(broken).rejects.toThrow("broken handler");
    const closing = lines(store, () => store.close(), new AbortController());
    expect(await closing).toEqual(["snapshot 1: "]);
  });
});
