// Sends random requests, one at a time and concurrently, over sockets, and compares the responses with a model.
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { settled } from '../helpers/poll.js';
import { commands, type Model, type Real } from './fuzz/commands.js';
import { runsOf } from './fuzz/runs.js';
import { FuzzSite, SUBJECTS } from './fuzz/site.js';

/** Share of all runs. The memory store has most of them, because it is the fastest. */
const SHARES = { memory: 0.5, directory: 0.25, segments: 0.25 } as const;
const RUNS_PER_SESSION = 20;

for (const name of ['memory', 'directory', 'segments'] as const) {
  test.serial(`${name}: responses to serial and concurrent requests are linearizable`, async (t) => {
    const { runs, timeoutMs } = runsOf(SHARES[name]);
    t.timeout(timeoutMs);
    const site = await FuzzSite.open(t, SUBJECTS[name]);
    let started = 0;
    const property = fc.asyncProperty(commands, async (list) => {
      // Every run has its own prefix, so that it starts with an empty store.
      const real: Real = { site, prefix: `run-${started++}` };
      if (started % RUNS_PER_SESSION === 0) site.endSession();
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
  });
}
