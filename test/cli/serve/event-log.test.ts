import test from 'ava';
import { EventLog } from '../../../src/cli/serve/event-log.js';
import { reportEvent } from '../../../src/util/report-event.js';

function createLog() {
  const lines: string[] = [];
  const clock = { now: 0 };
  return {
    lines,
    clock,
    log: new EventLog(
      (line) => lines.push(line),
      () => clock.now,
    ),
  };
}

const FULL = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });

test('similar events of ten seconds are one line, and the next line has their number', (t) => {
  const { lines, clock, log } = createLog();
  const fail = (key: string, error: unknown = FULL) =>
    log.add({ event: 'upload failed', details: `key ${key}, status 507`, error });
  for (let count = 0; count < 1000; count++) fail(`a${count}`);
  t.deepEqual(lines, ['upload failed: key a0, status 507']);
  fail('b', new Error('another reason'));
  log.add({ event: 'download failed', details: 'key c', error: FULL });
  t.deepEqual(lines.slice(1), ['upload failed: key b, status 507', 'download failed: key c']);
  clock.now = 10_000;
  fail('d');
  fail('e');
  t.deepEqual(lines.slice(3), ['upload failed: key d, status 507 (and 999 similar before)']);
  clock.now = 20_000;
  fail('f');
  t.deepEqual(lines.slice(4), ['upload failed: key f, status 507 (and 1 similar before)']);
});

test.serial('while it is open, it writes events and warnings', async (t) => {
  const { lines, log } = createLog();
  const listeners = process.listeners('warning');
  log.open();
  reportEvent('upload failed', 'key a');
  process.emitWarning('/d: EACCES', 'HotblobWarning');
  process.emitWarning('a\u001bb', 'CustomWarning');
  await new Promise(setImmediate); // warnings are emitted in a later tick
  log.close();
  for (const listener of listeners) process.on('warning', listener);
  reportEvent('upload failed', 'key b');
  t.deepEqual(lines, ['upload failed: key a', '/d: EACCES', 'CustomWarning: a\\x1bb']);
});
