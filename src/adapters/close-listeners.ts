import type { EventEmitter } from 'node:events';

const listenersOf = new WeakMap<EventEmitter, Set<() => void>>();

/**
 * Calls `listener` once, when one of the emitters emits `close` and `isOver` returns true. If `isOver` returns true
 * already, calls `listener` soon. Returns a function that removes `listener`.
 *
 * Calls with the same first emitter share one `close` listener on each emitter, because Node warns of a leak if an emitter has
 * more than ten listeners, and a host may pass a request to many handlers. Pass the response first.
 */
export function onceOver(
  emitters: readonly [EventEmitter, ...EventEmitter[]],
  isOver: () => boolean,
  listener: () => void,
): () => void {
  const listeners = listenersOf.get(emitters[0]) ?? listenTo(emitters, isOver);
  // Each call has an entry of its own, because the same function may be added twice.
  const entry = (): void => listener();
  listeners.add(entry);
  if (isOver()) process.nextTick(() => listeners.delete(entry) && listener());
  return () => void listeners.delete(entry);
}

function listenTo(emitters: readonly [EventEmitter, ...EventEmitter[]], isOver: () => boolean): Set<() => void> {
  const listeners = new Set<() => void>();
  const onClose = (): void => {
    if (!isOver()) return;
    for (const emitter of emitters) emitter.off('close', onClose);
    listenersOf.delete(emitters[0]);
    for (const listener of listeners) {
      listeners.delete(listener);
      listener();
    }
  };
  for (const emitter of emitters) emitter.on('close', onClose);
  listenersOf.set(emitters[0], listeners);
  return listeners;
}
