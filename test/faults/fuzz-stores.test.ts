// What comes of requests in any order and at any time, over sockets, compared with a model: fast-check makes up the requests.
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { settled } from '../helpers/poll.js';
import { commands, type Model, type Real } from './fuzz/commands.js';
import { runsOf } from './fuzz/runs.js';
import { FuzzSite, SUBJECTS } from './fuzz/site.js';

/** Of all runs: a store in memory has most of them, because it is the quickest. */
const SHARES = { memory: 0.5, directory: 0.25, segments: 0.25 } as const;
const RUNS_OF_A_SESSION = 20;

for (const name of ['memory', 'directory', 'segments'] as const) {
  test.serial(
    `${name}: whatever is asked, one at a time or at once, is answered as one artifact after the other would be`,
    async (t) => {
      const { runs, timeoutMs } = runsOf(SHARES[name]);
      t.timeout(timeoutMs);
      const site = await FuzzSite.open(t, SUBJECTS[name]);
      let begun = 0;
      const property = fc.asyncProperty(commands, async (list) => {
        // Keys of its own, so that every run begins with nothing.
        const real: Real = { site, prefix: `run-${begun++}` };
        if (begun % RUNS_OF_A_SESSION === 0) site.endSession();
        const model: Model = { versions: new Map(), earlier: new Map() };
        await fc.asyncModelRun(() => ({ model, real }), list);
        for (const key of model.versions.keys()) {
          const response = await site.perform(real.prefix, { do: 'DELETE', key, conditions: {} });
          assert.equal(response?.status, 204);
        }
      });
      await fc.assert(property, { numRuns: runs, includeErrorInReport: true });
      await settled(() => site.inUse());
      t.deepEqual(site.inUse(), { pooledBytes: 0, mappedBytes: 0 });
    },
  );
}
