import test from 'ava';
import fc from 'fast-check';
import { type Borrower, BufferPool, type PooledBuffer } from '../../src/send/buffer-pool.js';
import { KIB, MIB } from '../helpers/files.js';

const SMALL = 16 * KIB;
const borrower = (): Borrower => ({ pooledBytes: 0 });

/** Returns the values of the promises that have resolved by now. */
async function resolvedValues<T>(promises: readonly Promise<T>[]): Promise<(T | 'waiting')[]> {
  await new Promise((resolve) => setImmediate(resolve));
  return Promise.all(promises.map((promise) => Promise.race([promise, Promise.resolve('waiting' as const)])));
}

/** Borrows small buffers, each for another borrower, until all bytes of the pool are on loan. */
function exhaust(pool: BufferPool): { readonly borrower: Borrower; readonly buffer: PooledBuffer }[] {
  const loans = [];
  for (;;) {
    const each = borrower();
    const buffer = pool.acquire(each, SMALL);
    if (buffer === undefined) return loans;
    loans.push({ borrower: each, buffer });
  }
}

test('a buffer has the smallest size that holds the window, at most 256 KiB', (t) => {
  const pool = new BufferPool(64 * MIB);
  const lengths = [0, 1, 4096, 4097, 16 * KIB, 64 * KIB + 1, 256 * KIB, MIB];
  const sizes = lengths.map((length) => pool.acquire(borrower(), length)?.memory.byteLength);
  t.deepEqual(sizes, [4096, 4096, 4096, 16 * KIB, 16 * KIB, 256 * KIB, 256 * KIB, 256 * KIB]);
});

test('a released buffer is reused, unless its memory may still be read', (t) => {
  const pool = new BufferPool(MIB);
  const connection = borrower();
  const first = pool.acquire(connection, 4096);
  if (first === undefined) return t.fail();
  pool.release(connection, first);
  t.is(pool.acquire(connection, 4096), first);
  pool.release(connection, first, false);
  t.is(pool.idleBytes, 0);
  t.not(pool.acquire(connection, 4096), first);
  return undefined;
});

test('idle buffers of one size are freed for a buffer of another size', (t) => {
  const pool = new BufferPool(MIB);
  for (const { borrower, buffer } of exhaust(pool)) pool.release(borrower, buffer);
  t.deepEqual([pool.lentBytes, pool.idleBytes], [0, MIB]);
  const larger = pool.acquire(borrower(), 64 * KIB);
  t.is(larger?.memory.byteLength, 64 * KIB);
  t.true(pool.lentBytes + pool.idleBytes <= MIB);
});

test('buffers that were idle for the given number of ticks are freed, buffers in use are kept', (t) => {
  const pool = new BufferPool(MIB);
  const loans = exhaust(pool);
  const [used, ...unused] = loans;
  if (used === undefined) return t.fail();
  for (const { borrower, buffer } of unused) pool.release(borrower, buffer);
  pool.release(used.borrower, used.buffer);
  for (let count = 0; count < 9; count++) {
    pool.tick(10);
    t.is(pool.acquire(used.borrower, SMALL), used.buffer, 'the buffer that was released last is used first');
    pool.release(used.borrower, used.buffer);
  }
  t.is(pool.idleBytes, MIB);
  pool.tick(10);
  t.is(pool.idleBytes, SMALL);
  t.is(pool.acquire(used.borrower, SMALL), used.buffer);
  pool.release(used.borrower, used.buffer);
  for (let count = 0; count < 10; count++) pool.tick(10);
  t.deepEqual([pool.idleBytes, pool.lentBytes], [0, 0]);
  return undefined;
});

test('waiting borrowers are served in order, and a wait can be cancelled', async (t) => {
  const pool = new BufferPool(MIB);
  const loans = exhaust(pool);
  t.is(pool.lentBytes, MIB);
  const waiters = Array.from({ length: 4 }, () => pool.wait(borrower(), SMALL));
  const results = () => resolvedValues(waiters.map(({ buffer }) => buffer));
  t.deepEqual(await results(), ['waiting', 'waiting', 'waiting', 'waiting']);
  waiters[1]?.cancel();
  for (const loan of loans.slice(0, 2)) {
    pool.release(loan.borrower, loan.buffer);
    t.is(pool.acquire(borrower(), 1), undefined, 'a new borrower does not overtake those that wait');
  }
  const [first, second, third, fourth] = await results();
  t.deepEqual([second, fourth], [undefined, 'waiting']);
  t.true(typeof first === 'object' && typeof third === 'object');
  waiters[0]?.cancel();
  t.is((await results())[0], first, 'cancelling a wait that is over has no effect');
});

test('a waiting borrower whose share is used up does not delay the others', async (t) => {
  const pool = new BufferPool(2 * MIB);
  const greedy = borrower();
  const buffers: PooledBuffer[] = [];
  for (let next = pool.acquire(greedy, SMALL); next !== undefined; next = pool.acquire(greedy, SMALL))
    buffers.push(next);
  const greedyWait = pool.wait(greedy, SMALL).buffer;
  const modestWait = pool.wait(borrower(), SMALL).buffer;
  const [greedyResult, modestResult] = await resolvedValues([greedyWait, modestWait]);
  t.is(greedyResult, 'waiting');
  t.is(typeof modestResult, 'object');
  for (const buffer of buffers) pool.release(greedy, buffer);
  t.is(typeof (await greedyWait), 'object');
});

type Step =
  | { readonly kind: 'acquire' | 'spare' | 'wait'; readonly who: number; readonly length: number }
  | { readonly kind: 'release'; readonly which: number; readonly reusable: boolean }
  | { readonly kind: 'cancel'; readonly which: number }
  | { readonly kind: 'freeIdle' }
  | { readonly kind: 'tick'; readonly maxIdleTicks: number };

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: acquisition() },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(), reusable: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeIdle' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('tick' as const), maxIdleTicks: fc.nat(3) }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 120 },
);

function acquisition() {
  return fc.record({
    kind: fc.constantFrom('acquire' as const, 'spare' as const, 'wait' as const),
    who: fc.nat(5),
    length: fc.constantFrom(1, 4096, 5000, SMALL, 64 * KIB, 256 * KIB, MIB),
  });
}

test('in any order of calls: the limits hold, no buffer is lent twice, and no borrower waits for ever', async (t) => {
  const run = async (limit: number, sequence: Step[]): Promise<void> => {
    const pool = new BufferPool(limit);
    const borrowers = Array.from({ length: 6 }, borrower);
    const loans: { who: Borrower; buffer: PooledBuffer }[] = [];
    const waits: { who: Borrower; cancel: () => void; isOver: boolean }[] = [];
    const lend = (who: Borrower, buffer: PooledBuffer | undefined): void => {
      if (buffer === undefined) return;
      if (loans.some((loan) => loan.buffer === buffer)) throw new Error('a buffer was lent twice');
      loans.push({ who, buffer });
    };
    const check = (): void => {
      if (pool.lentBytes + pool.idleBytes > limit) throw new Error(`${pool.lentBytes} + ${pool.idleBytes} > ${limit}`);
      if (pool.lentBytes < 0 || pool.idleBytes < 0) throw new Error('a count is negative');
      for (const who of borrowers) {
        const bytes = loans
          .filter((loan) => loan.who === who)
          .reduce((sum, { buffer }) => sum + buffer.memory.byteLength, 0);
        if (bytes !== who.pooledBytes) throw new Error(`${who.pooledBytes} counted, ${bytes} lent`);
      }
      if (borrowers.reduce((sum, who) => sum + who.pooledBytes, 0) !== pool.lentBytes)
        throw new Error('lentBytes is not the sum over all borrowers');
    };
    const release = (index: number, reusable: boolean): void => {
      const [loan] = loans.splice(index, 1);
      if (loan !== undefined) pool.release(loan.who, loan.buffer, reusable);
    };
    for (const step of sequence) {
      if (step.kind === 'acquire' || step.kind === 'spare') {
        const who = borrowers[step.who] ?? borrower();
        const free = limit - pool.lentBytes;
        const borrowed = who.pooledBytes;
        lend(who, step.kind === 'acquire' ? pool.acquire(who, step.length) : pool.acquireSpare(who, step.length));
        const added = who.pooledBytes - borrowed;
        const isFirstSmall = borrowed === 0 && added <= SMALL && step.kind === 'acquire';
        if (added > 0 && borrowed + added > free / 8 && !isFirstSmall) {
          throw new Error(`${borrowed} + ${added} of ${free} free`);
        }
      } else if (step.kind === 'wait') {
        const who = borrowers[step.who] ?? borrower();
        const { buffer, cancel } = pool.wait(who, step.length);
        const wait = { who, cancel, isOver: false };
        waits.push(wait);
        void buffer.then((acquired) => {
          wait.isOver = true;
          lend(who, acquired);
        });
      } else if (step.kind === 'release' && loans.length > 0) release(step.which % loans.length, step.reusable);
      else if (step.kind === 'cancel' && waits.length > 0) waits[step.which % waits.length]?.cancel();
      else if (step.kind === 'freeIdle') pool.freeIdle();
      else if (step.kind === 'tick') pool.tick(step.maxIdleTicks);
      await undefined; // lets served waits resolve
      check();
    }
    while (loans.length > 0) {
      release(0, true);
      await undefined;
      check();
    }
    if (waits.some(({ isOver }) => !isOver)) throw new Error('a borrower still waits, although all buffers are free');
    if (pool.lentBytes !== 0) throw new Error(`${pool.lentBytes} bytes are still counted as lent`);
  };
  const limits = fc.constantFrom(MIB, MIB + 4096, 4 * MIB);
  await t.notThrowsAsync(fc.assert(fc.asyncProperty(limits, steps, run), { numRuns: 300 }));
});
