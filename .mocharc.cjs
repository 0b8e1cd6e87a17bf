// Mocha runs the .ts files directly: Node strips the types. Tiers and their folders are in scripts/test.ts.
module.exports = {
  require: ['test/support/setup.ts'],
  forbidOnly: Boolean(process.env.CI),
  timeout: 10_000,
  'node-option': ['disable-warning=ExperimentalWarning'],
};
