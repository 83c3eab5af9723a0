import test from 'ava';
import fc from 'fast-check';
import { type Borrower, BufferPool, type PooledBuffer } from '../../src/send/buffer-pool.js';
import { KIB, MIB } from '../helpers/files.js';

const FLOOR = 16 * KIB;
const borrower = (): Borrower => ({ pooledBytes: 0 });

/** What promises have resolved to by now. */
async function soFar<T>(promises: readonly Promise<T>[]): Promise<(T | 'waiting')[]> {
  await new Promise((resolve) => setImmediate(resolve));
  return Promise.all(promises.map((promise) => Promise.race([promise, Promise.resolve('waiting' as const)])));
}

test('buffers are of the smallest class that holds the window, 256 KiB at most', (t) => {
  const pool = new BufferPool(64 * MIB);
  const sizes = [0, 1, 4096, 4097, 16 * KIB, 64 * KIB + 1, 256 * KIB, MIB];
  const found = sizes.map((length) => pool.take(borrower(), length)?.memory.byteLength);
  t.deepEqual(found, [4096, 4096, 4096, 16 * KIB, 16 * KIB, 256 * KIB, 256 * KIB, 256 * KIB]);
});

test('a buffer that came back is used again, unless something may still read it', (t) => {
  const pool = new BufferPool(MIB);
  const someone = borrower();
  const first = pool.take(someone, 4096);
  if (first === undefined) return t.fail();
  pool.give(someone, first);
  t.is(pool.take(someone, 4096), first);
  pool.give(someone, first, false);
  t.is(pool.idleBytes, 0);
  t.not(pool.take(someone, 4096), first);
  return undefined;
});

test('idle buffers of one size make room for those of another', (t) => {
  const pool = new BufferPool(MIB);
  const holders = Array.from({ length: MIB / FLOOR }, borrower);
  const held = holders.map((holder) => pool.take(holder, FLOOR));
  for (const [index, buffer] of held.entries()) {
    if (buffer !== undefined) pool.give(holders[index] ?? borrower(), buffer);
  }
  t.deepEqual([pool.lentBytes, pool.idleBytes], [0, MIB]);
  const larger = pool.take(borrower(), 64 * KIB);
  t.is(larger?.memory.byteLength, 64 * KIB);
  t.true(pool.lentBytes + pool.idleBytes <= MIB);
});

test('those who wait are served in their order, and a wait can be given up', async (t) => {
  const pool = new BufferPool(MIB);
  const holders = Array.from({ length: MIB / FLOOR }, borrower);
  const held = holders.map((holder) => pool.take(holder, FLOOR));
  t.is(pool.lentBytes, MIB);
  const waiters = Array.from({ length: 4 }, () => pool.wait(borrower(), FLOOR));
  const served = () => soFar(waiters.map(({ buffer }) => buffer));
  t.deepEqual(await served(), ['waiting', 'waiting', 'waiting', 'waiting']);
  waiters[1]?.cancel();
  for (const [index, buffer] of held.slice(0, 2).entries()) {
    if (buffer !== undefined) pool.give(holders[index] ?? borrower(), buffer);
    t.is(pool.take(borrower(), 1), undefined, 'who has not waited comes after those who do');
  }
  const [first, second, third, fourth] = await served();
  t.deepEqual([second, fourth], [undefined, 'waiting']);
  t.true(typeof first === 'object' && typeof third === 'object');
  waiters[0]?.cancel();
  t.is((await served())[0], first, 'too late');
});

test('one whose share is used up does not hold back the others', async (t) => {
  const pool = new BufferPool(2 * MIB);
  const greedy = borrower();
  const taken: PooledBuffer[] = [];
  for (let next = pool.take(greedy, FLOOR); next !== undefined; next = pool.take(greedy, FLOOR)) taken.push(next);
  const greedyWait = pool.wait(greedy, FLOOR).buffer;
  const modestWait = pool.wait(borrower(), FLOOR).buffer;
  const [refused, served] = await soFar([greedyWait, modestWait]);
  t.is(refused, 'waiting');
  t.is(typeof served, 'object');
  for (const buffer of taken) pool.give(greedy, buffer);
  t.is(typeof (await greedyWait), 'object');
});

type Step =
  | { readonly kind: 'take' | 'spare' | 'wait'; readonly who: number; readonly length: number }
  | { readonly kind: 'give'; readonly which: number; readonly reusable: boolean }
  | { readonly kind: 'cancel'; readonly which: number }
  | { readonly kind: 'trim' };

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: asking() },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('give' as const), which: fc.nat(), reusable: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const) }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 120 },
);

function asking() {
  return fc.record({
    kind: fc.constantFrom('take' as const, 'spare' as const, 'wait' as const),
    who: fc.nat(5),
    length: fc.constantFrom(1, 4096, 5000, FLOOR, 64 * KIB, 256 * KIB, MIB),
  });
}

test('whatever happens: the limit holds, no share is exceeded, nothing is lent twice, and nobody waits for ever', async (t) => {
  const run = async (limit: number, sequence: Step[]): Promise<void> => {
    const pool = new BufferPool(limit);
    const borrowers = Array.from({ length: 6 }, borrower);
    const loans: { who: Borrower; buffer: PooledBuffer }[] = [];
    const waits: { who: Borrower; cancel: () => void; isOver: boolean }[] = [];
    const lend = (who: Borrower, buffer: PooledBuffer | undefined): void => {
      if (buffer === undefined) return;
      if (loans.some((loan) => loan.buffer === buffer)) throw new Error('lent twice');
      loans.push({ who, buffer });
    };
    const check = (): void => {
      if (pool.lentBytes + pool.idleBytes > limit) throw new Error(`${pool.lentBytes} + ${pool.idleBytes} > ${limit}`);
      if (pool.lentBytes < 0 || pool.idleBytes < 0) throw new Error('less than nothing');
      for (const who of borrowers) {
        const bytes = loans
          .filter((loan) => loan.who === who)
          .reduce((sum, { buffer }) => sum + buffer.memory.byteLength, 0);
        if (bytes !== who.pooledBytes) throw new Error(`${who.pooledBytes} counted, ${bytes} lent`);
      }
      if (borrowers.reduce((sum, who) => sum + who.pooledBytes, 0) !== pool.lentBytes)
        throw new Error('the sum is wrong');
    };
    const giveBack = (index: number, reusable: boolean): void => {
      const [loan] = loans.splice(index, 1);
      if (loan !== undefined) pool.give(loan.who, loan.buffer, reusable);
    };
    for (const step of sequence) {
      if (step.kind === 'take' || step.kind === 'spare') {
        const who = borrowers[step.who] ?? borrower();
        const free = limit - pool.lentBytes;
        const held = who.pooledBytes;
        lend(who, step.kind === 'take' ? pool.take(who, step.length) : pool.takeSpare(who, step.length));
        const added = who.pooledBytes - held;
        const isSmallest = held === 0 && added <= FLOOR && step.kind === 'take';
        if (added > 0 && held + added > free / 8 && !isSmallest) throw new Error(`${held} + ${added} of ${free} free`);
      } else if (step.kind === 'wait') {
        const who = borrowers[step.who] ?? borrower();
        const { buffer, cancel } = pool.wait(who, step.length);
        const wait = { who, cancel, isOver: false };
        waits.push(wait);
        void buffer.then((served) => {
          wait.isOver = true;
          lend(who, served);
        });
      } else if (step.kind === 'give' && loans.length > 0) giveBack(step.which % loans.length, step.reusable);
      else if (step.kind === 'cancel' && waits.length > 0) waits[step.which % waits.length]?.cancel();
      else if (step.kind === 'trim') pool.trim();
      await undefined; // those who waited take what they got
      check();
    }
    while (loans.length > 0) {
      giveBack(0, true);
      await undefined;
      check();
    }
    if (waits.some(({ isOver }) => !isOver)) throw new Error('someone still waits for what is free');
    if (pool.lentBytes !== 0) throw new Error(`${pool.lentBytes} bytes are lost`);
  };
  const limits = fc.constantFrom(MIB, MIB + 4096, 4 * MIB);
  await t.notThrowsAsync(fc.assert(fc.asyncProperty(limits, steps, run), { numRuns: 300 }));
});
