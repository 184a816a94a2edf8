/** Entry: `node forgetMain.js LAB RUN_ROOT` deletes the lab's objects from its etcd. Exit 1 with the reason on failure. */
import { connectStore } from "../store/index.js";
import { LabPaths } from "./paths.js";
import { readRecord, storeEndpoints } from "./record.js";
import { deleteObjects } from "./storeObjects.js";

const [, , lab = "", root = ""] = process.argv;
const paths = new LabPaths(lab, root);
const record = readRecord(paths);
if (record) {
  const store = connectStore({ endpoints: [...storeEndpoints(paths, record)] });
  try {
    await deleteObjects(record, store);
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  } finally {
    await store.close();
  }
}
