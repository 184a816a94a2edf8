/** The product as it is built: the bench measures what users run, with the types of the sources. */
const DIST = new URL("../../dist/", import.meta.url);

async function built<T>(module: string): Promise<T> {
  try {
    return (await import(new URL(module, DIST).href)) as T;
  } catch (error) {
    throw new Error(`${module} cannot be loaded; run npm run build first (${(error as Error).message})`);
  }
}

export const datapath = await built<typeof import("../../src/datapath/index.js")>("datapath/index.js");
export const overlay = await built<typeof import("../../src/overlay/index.js")>("overlay/index.js");
export const proxy = await built<typeof import("../../src/proxy/index.js")>("proxy/index.js");
export const store = await built<typeof import("../../src/store/index.js")>("store/index.js");
export const wire = await built<typeof import("../../src/wire/index.js")>("wire/index.js");

/** The parts of a node process; they need the native addon, so only who asks gets them. */
export async function nodeParts() {
  const dataplane = await built<typeof import("../../src/node/dataplane.js")>("node/dataplane.js");
  const hostLink = await built<typeof import("../../src/node/hostLink.js")>("node/hostLink.js");
  const sandbox = await built<typeof import("../../src/node/pods/sandbox.js")>("node/pods/sandbox.js");
  const trace = await built<typeof import("../../src/node/traceHub.js")>("node/traceHub.js");
  return { ...dataplane, ...hostLink, ...sandbox, ...trace };
}
