// The kernel does not deliver SIGINT and SIGTERM to process 1 of a container until it has a listener. The listeners are added
// before all other modules are loaded, so that a stop during the start is not lost.
if (process.pid === 1) {
  process.on('SIGINT', () => process.exit(128 + 2));
  process.on('SIGTERM', () => process.exit(128 + 15));
}
