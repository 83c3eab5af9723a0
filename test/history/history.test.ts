import test from 'ava';
import { History, type HistoryWindow, SAMPLE_MS } from '../../src/history/history.js';

const START = Date.UTC(2026, 0, 1);

/** Returns a column as values; `null` where there is none. */
function valuesOf(window: HistoryWindow, name: string): (number | null)[] {
  let sum = 0;
  return (window.columns[name] ?? []).map((difference) => {
    if (difference === null) return null;
    sum += difference;
    return sum;
  });
}

function timesOf({ times }: HistoryWindow): number[] {
  let sum = 0;
  return times.map((difference) => {
    sum += difference ?? 0;
    return (sum - START) / 1000;
  });
}

/** Adds a sample every two seconds. */
function record(
  history: History,
  samples: number,
  columnsAt: (index: number) => Record<string, number>,
  from = 0,
): void {
  for (let index = from; index < from + samples; index++) history.add(START + index * SAMPLE_MS, columnsAt(index));
}

test('ten minutes have a sample every 2 seconds, an hour has one every 16', (t) => {
  const history = new History();
  record(history, 4000, (index) => ({ hits: index }));
  const short = history.read(600);
  t.is(timesOf(short).length, 300);
  t.deepEqual(timesOf(short).slice(-2), [7996, 7998]);
  t.deepEqual(valuesOf(short, 'hits').slice(-2), [3998, 3999]);
  const long = history.read(3600);
  t.is(timesOf(long).length, 226);
  t.true((timesOf(long).at(-1) ?? 0) - (timesOf(long)[0] ?? 0) === 3600);
  t.deepEqual(
    valuesOf(long, 'hits'),
    timesOf(long).map((time) => time / 2),
  );
  t.is(timesOf(history.read(60)).length, 31);
  t.deepEqual(new History().read(600), { times: [], columns: {} });
});

test('a counter that appears later was 0 in the sample before, and a current value has no value there', (t) => {
  const history = new History();
  record(history, 3, (index) =>
    index < 2 ? { hits: 1 } : { hits: 1, 'status/503': 7, 'now/delay': 5, 'status/200': 0 },
  );
  const window = history.read(600);
  t.deepEqual(valuesOf(window, 'status/503'), [null, 0, 7]);
  t.deepEqual(valuesOf(window, 'now/delay'), [null, null, 5]);
  t.false('status/200' in window.columns);
});

test('of current values, a long interval keeps the largest', (t) => {
  const history = new History();
  record(history, 20, (index) => ({ 'now/delay': index === 3 ? 900 : 1, hits: index }));
  t.deepEqual(valuesOf(history.read(3600), 'now/delay'), [1, 900, 1]);
});

test('the number of columns is limited, and idle namespaces make room for others', (t) => {
  const history = new History();
  const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`namespace/gradle/${index}/bytes`, 1]));
  record(history, 2, () => ({ hits: 1, ...many }));
  t.is(Object.keys(history.read(600).columns).length, 220);
  // Namespace 0 goes on, and a new one begins when the others have been idle for ten minutes.
  const busy = (index: number) => ({ hits: 1, ...many, 'namespace/gradle/0/bytes': index });
  record(history, 310, busy, 2);
  record(history, 1, (index) => ({ ...busy(index), 'namespace/gradle/new/bytes': 5 }), 312);
  const { columns } = history.read(600);
  t.is(Object.keys(columns).length, 220);
  t.true('namespace/gradle/0/bytes' in columns);
  t.deepEqual(valuesOf({ times: [], columns }, 'namespace/gradle/new/bytes').slice(-3), [null, 0, 5]);
});

test('a clock that is set back does not stop the recording', (t) => {
  const history = new History();
  history.add(START, { hits: 1 });
  history.add(START - 3_600_000, { hits: 2 });
  t.deepEqual(valuesOf(history.read(600), 'hits'), [1, 2]);
});
