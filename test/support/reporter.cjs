// Mocha's spec reporter that also writes the counts and the failures to a file: for the closing lines over all tiers,
// where a reader of a long log looks first.
const { writeFileSync } = require('node:fs');
const { reporters, Runner } = require('mocha');

const MAX_STACK_LINES = 12;

module.exports = class CountingReporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const told = [];
    runner.on(Runner.constants.EVENT_TEST_FAIL, (test, error) => {
      const text = String(error?.stack ?? error);
      told.push(`${test.fullTitle()}\n${text.split('\n').slice(0, MAX_STACK_LINES).join('\n')}`);
    });
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const { passes: passed, failures: failed, pending: skipped } = this.stats;
      const file = process.env.COATCHECK_TEST_COUNTS;
      if (file) writeFileSync(file, JSON.stringify({ passed, failed, skipped, told }));
    });
  }
};
