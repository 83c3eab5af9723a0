import test from 'ava';
import { CircuitBreaker } from '../../../src/stores/tiered/breaker.js';
import { collectEvents } from '../../helpers/events.js';
import { until } from '../../helpers/poll.js';

const LONG_MS = 60_000;

test('opens after consecutive failures and then admits no request', (t) => {
  const breaker = new CircuitBreaker(3, LONG_MS);
  const fail = (): void => breaker.admit()?.failed();
  fail();
  fail();
  breaker.admit()?.succeeded();
  fail();
  fail();
  t.is(breaker.state, 'closed', 'the failures are not consecutive');
  fail();
  t.is(breaker.state, 'open');
  t.is(breaker.admit(), undefined);
});

test('counts the outcome of an attempt once', (t) => {
  const breaker = new CircuitBreaker(2, LONG_MS);
  const attempt = breaker.admit();
  for (let count = 0; count < 5; count++) attempt?.failed();
  t.is(breaker.state, 'closed');
  const abandoned = breaker.admit();
  abandoned?.abandoned();
  abandoned?.failed();
  t.is(breaker.state, 'closed');
});

test('admits one probe while half-open, which closes it or opens it for twice as long', async (t) => {
  const breaker = new CircuitBreaker(1, 100);
  const late = breaker.admit();
  breaker.admit()?.failed();
  const halfOpen = () => until('the breaker is half-open', () => breaker.state === 'half-open');
  await halfOpen();
  const first = breaker.admit();
  t.not(first, undefined);
  t.is(breaker.admit(), undefined);
  first?.abandoned();
  const second = breaker.admit();
  const openedAt = performance.now();
  second?.failed();
  t.is(breaker.state, 'open');
  late?.failed();
  await halfOpen();
  t.true(performance.now() - openedAt >= 200);
  breaker.admit()?.succeeded();
  t.is(breaker.state, 'closed');
  t.not(breaker.admit(), undefined);
  t.not(breaker.admit(), undefined);
});

test('closes when a request that started before it opened succeeds', (t) => {
  const breaker = new CircuitBreaker(1, LONG_MS);
  const slow = breaker.admit();
  breaker.admit()?.failed();
  t.is(breaker.state, 'open');
  slow?.succeeded();
  t.is(breaker.state, 'closed');
});

test.serial('an event says when the breaker opens, with the reason, and when it closes', (t) => {
  const events = collectEvents(t);
  const breaker = new CircuitBreaker(2, LONG_MS);
  const late = breaker.admit();
  const reason = new Error('connect ECONNREFUSED 127.0.0.1:1');
  breaker.admit()?.failed(reason);
  t.deepEqual(events, []);
  breaker.admit()?.failed(reason);
  late?.succeeded();
  t.deepEqual(
    events.map(({ event, details }) => `${event}: ${details}`),
    [
      'circuit breaker open: 2 consecutive failures, retry in 60 s: connect ECONNREFUSED 127.0.0.1:1',
      'circuit breaker closed: the remote store responds again',
    ],
  );
});
