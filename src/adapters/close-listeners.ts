import type { EventEmitter } from 'node:events';

const waiting = new WeakMap<EventEmitter, Set<() => void>>();

/**
 * Calls `listener` once, when one of the emitters closes and `isOver` holds, or soon where it holds already. Returns what
 * takes the listener away. However many handlers a host passes one request on to, its emitters get one listener: from
 * eleven on Node warns of a leak. The first emitter stands for the response.
 */
export function onceOver(
  emitters: readonly [EventEmitter, ...EventEmitter[]],
  isOver: () => boolean,
  listener: () => void,
): () => void {
  const listeners = waiting.get(emitters[0]) ?? listenTo(emitters, isOver);
  // One function may wait twice.
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
    waiting.delete(emitters[0]);
    for (const listener of listeners) {
      listeners.delete(listener);
      listener();
    }
  };
  for (const emitter of emitters) emitter.on('close', onClose);
  waiting.set(emitters[0], listeners);
  return listeners;
}
