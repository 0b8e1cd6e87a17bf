// Mocha's spec reporter that also writes the counts to a file, for the one closing line over all tiers.
const { writeFileSync } = require('node:fs');
const { reporters, Runner } = require('mocha');

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes: passed, failures: failed, pending: skipped } = this.stats;
      const file = process.env.COATCHECK_TEST_COUNTS;
      if (file) writeFileSync(file, JSON.stringify({ passed, failed, skipped }));
    });
  }
};
