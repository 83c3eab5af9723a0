import { printable } from './printable.js';

/** Maximum number of warnings of a process. Their texts may contain paths that clients choose. */
const MAX_WARNINGS = 100;
const topics = new Set<string>();

/**
 * Emits a process warning, which Node prints on stderr: for mistakes that only the host can mend. Once for each topic.
 *
 * @param topic default: the message
 */
export function warnOnce(message: string, topic = message): void {
  if (topics.has(topic) || topics.size === MAX_WARNINGS) return;
  topics.add(topic);
  process.emitWarning(printable(message), 'HotblobWarning');
}
