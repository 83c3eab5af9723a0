// The kernel does not deliver SIGINT and SIGTERM to process 1 of a container until it has a listener. The listeners are added
// before all other modules are loaded, so that a stop during the start is not lost. A command that has a listener of its own
// decides itself how it ends.
if (process.pid === 1) {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) process.exit(128 + number);
    });
  }
}
