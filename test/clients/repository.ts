import { writeFile } from 'node:fs/promises';
import { runLine } from './run.js';

/** Makes a directory a Git repository with one commit. */
export async function initRepository(directory: string, ignored: readonly string[]): Promise<void> {
  await writeFile(`${directory}/.gitignore`, `${ignored.join('\n')}\n`);
  const commit = 'git -c user.name=test -c user.email=test@localhost commit -qm "add files"';
  const { code, log } = await runLine(`git init -q && git add -A && ${commit}`, directory, { HOME: directory });
  if (code !== 0) throw new Error(`git: ${log}`);
}
