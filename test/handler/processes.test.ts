import test from 'ava';
import { createHandler } from '../../src/handler/handler.js';
import { fixedMemoryPressure } from '../../src/memory/pressure.js';
import { createServer } from '../../src/server/server.js';
import { memoryStore } from '../../src/stores/memory.js';

test('the limits of a process follow the current number of processes', (t) => {
  let processes = 1;
  const options = { processes: () => processes, memory: fixedMemoryPressure('normal') };
  const handler = createHandler({ store: memoryStore(), ...options });
  const server = createServer(handler, options);
  const limits = (): number[] => {
    const { maxPooledBytes, maxMappedBytes, maxOpenFiles } = handler.stats();
    return [maxPooledBytes, maxMappedBytes, maxOpenFiles, server.stats().maxConnections].map(Math.floor);
  };
  const alone = limits();
  for (const count of [4, 3, 1]) {
    processes = count;
    t.deepEqual(
      limits(),
      alone.map((limit) => Math.floor(limit / count)),
    );
  }
});

test('limits that are set explicitly apply to each process', (t) => {
  const processes = (): number => 2;
  const handler = createHandler({ store: memoryStore(), maxOpenFiles: 8, maxPooledBytes: 2 ** 21, processes });
  t.like(handler.stats(), { maxOpenFiles: 8, maxPooledBytes: 2 ** 21 });
  t.is(createServer(handler, { maxConnections: 5, processes }).stats().maxConnections, 5);
  t.is(createServer(handler, { maxConnections: () => 7, processes }).stats().maxConnections, 7);
});
