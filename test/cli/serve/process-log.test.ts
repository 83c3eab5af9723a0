import test from 'ava';
import { EventLog } from '../../../src/cli/serve/event-log.js';
import { noticeOf, ProcessLog } from '../../../src/cli/serve/process-log.js';

/** A parent and its processes with one clock. */
function createLogs() {
  const lines: string[] = [];
  const clock = { now: 0 };
  const now = (): number => clock.now;
  const write = (line: string) => void lines.push(line);
  const parent = new ProcessLog(new EventLog(write, now), write, now);
  const send = (pid: number, notice: unknown): void => parent.receive(structuredClone(notice), pid);
  const childOf = (pid: number) => new EventLog((line, event) => send(pid, noticeOf(line, event)), now);
  return { lines, clock, send, childOf };
}

test('similar events of all processes are one line, and the next line has the number of all', (t) => {
  const { lines, clock, childOf } = createLogs();
  const children = [childOf(1), childOf(2), childOf(3)];
  const error = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', socket: () => {} });
  const fail = (key: string) => {
    for (const child of children) child.add({ event: 'upload failed', details: `key ${key}`, error });
  };
  for (let count = 0; count < 100; count++) fail('a');
  t.deepEqual(lines, ['upload failed: key a']);
  clock.now = 10_000;
  fail('b');
  // Of the 300 events, 1 was written. The first process now reports its 99, the parent has counted 2, and the other two
  // processes report theirs with the next line.
  t.deepEqual(lines.slice(1), ['upload failed: key b (and 101 similar before)']);
  clock.now = 20_000;
  fail('c');
  t.deepEqual(lines.slice(2), ['upload failed: key c (and 200 similar before)']);
});

test('a line that every process writes is written once, and one that a process repeats is written again', (t) => {
  const { lines, clock, send } = createLogs();
  const reload = (pid: number) => send(pid, { line: 'certificate reloaded' });
  reload(1);
  clock.now = 4000;
  reload(2);
  reload(3);
  t.deepEqual(lines, ['certificate reloaded']);
  reload(2);
  t.is(lines.length, 2);
  clock.now = 60_000;
  reload(1);
  t.is(lines.length, 3);
});
