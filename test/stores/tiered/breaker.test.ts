import test from 'ava';
import { CircuitBreaker } from '../../../src/stores/tiered/breaker.js';
import { until } from '../../helpers/poll.js';

const LONG_MS = 60_000;

test('failures in a row open it, and nothing passes', (t) => {
  const breaker = new CircuitBreaker(3, LONG_MS);
  const fail = (): void => breaker.enter()?.failed();
  fail();
  fail();
  breaker.enter()?.succeeded();
  fail();
  fail();
  t.is(breaker.state, 'closed', 'not in a row');
  fail();
  t.is(breaker.state, 'open');
  t.is(breaker.enter(), undefined);
});

test('an attempt counts once', (t) => {
  const breaker = new CircuitBreaker(2, LONG_MS);
  const attempt = breaker.enter();
  for (let count = 0; count < 5; count++) attempt?.failed();
  t.is(breaker.state, 'closed');
  const other = breaker.enter();
  other?.abandoned();
  other?.failed();
  t.is(breaker.state, 'closed');
});

test('half-open it lets one try, which closes it or opens it for twice as long', async (t) => {
  const breaker = new CircuitBreaker(1, 100);
  const late = breaker.enter();
  breaker.enter()?.failed();
  const halfOpen = () => until('it is half-open', () => breaker.state === 'half-open');
  await halfOpen();
  const first = breaker.enter();
  t.not(first, undefined);
  t.is(breaker.enter(), undefined);
  first?.abandoned();
  const second = breaker.enter();
  const openedAt = performance.now();
  second?.failed();
  t.is(breaker.state, 'open');
  late?.failed();
  await halfOpen();
  t.true(performance.now() - openedAt >= 200);
  breaker.enter()?.succeeded();
  t.is(breaker.state, 'closed');
  t.not(breaker.enter(), undefined);
  t.not(breaker.enter(), undefined);
});

test('what has begun before it opened and succeeds closes it', (t) => {
  const breaker = new CircuitBreaker(1, LONG_MS);
  const slow = breaker.enter();
  breaker.enter()?.failed();
  t.is(breaker.state, 'open');
  slow?.succeeded();
  t.is(breaker.state, 'closed');
});
