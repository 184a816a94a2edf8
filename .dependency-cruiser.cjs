/** The house's import rules (docs/architecture.md): one row a folder, with the folders it may import. */
const MAY_IMPORT = {
  wire: [],
  datapath: ["wire"],
  store: [],
  overlay: ["wire", "datapath", "store"],
  proxy: ["wire", "datapath"],
  kube: ["store"],
  control: ["kube"],
  topology: ["wire"],
  observe: ["wire", "datapath"],
  "tun-tap-ts": [],
  node: ["wire", "datapath", "store", "overlay", "proxy", "kube", "control", "topology", "observe", "tun-tap-ts"],
  cluster: ["wire", "datapath", "store", "overlay", "proxy", "kube", "control", "topology", "observe", "tun-tap-ts", "node"],
  dashboard: [],
  cli: [
    "wire", "datapath", "store", "overlay", "proxy", "kube", "control", "topology", "observe", "tun-tap-ts", "node",
    "cluster", "dashboard",
  ],
};

const layers = Object.entries(MAY_IMPORT).map(([folder, allowed]) => ({
  name: `${folder}-imports`,
  severity: "error",
  comment: `src/${folder} may import ${allowed.length ? allowed.join(", ") : "nothing of ours"}`,
  from: { path: `^src/${folder}/` },
  to: { path: "^src/", pathNot: `^src/(${[folder, ...allowed].join("|")})/` },
}));

module.exports = {
  forbidden: [
    ...layers,
    {
      name: "through-the-door",
      severity: "error",
      comment: "Another folder is imported through its index.ts only",
      from: { path: "^src/([^/]+)/" },
      to: { path: "^src/[^/]+/", pathNot: "^src/($1)/|^src/[^/]+/index\\.ts$|^src/tun-tap-ts/(src|dist)/index\\." },
    },
    {
      name: "wire-is-pure",
      severity: "error",
      comment: "src/wire imports nothing, not even node:*",
      from: { path: "^src/wire/" },
      to: { pathNot: "^src/wire/" },
    },
    {
      name: "datapath-is-pure",
      severity: "error",
      comment: "src/datapath gets time and randomness as arguments",
      from: { path: "^src/datapath/" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: { path: "^src/" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "known-folders",
      severity: "error",
      comment: "Every source file lives in a folder of the house",
      from: { path: "^src/", pathNot: `^src/(${Object.keys(MAY_IMPORT).join("|")})/` },
      to: {},
    },
  ],
  options: { tsPreCompilationDeps: true, tsConfig: { fileName: "tsconfig.json" }, doNotFollow: { path: "node_modules|dist" } },
};
