import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import ts from 'typescript';
import { temporaryDirectory } from '../fixture.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * Transpiles the sources and test programs to JavaScript in a temporary directory: child processes that are started hundreds
 * of times would otherwise do it each time. Returns the path of `program`, which is a file of `test/stores/FOLDER`.
 */
export async function transpiled(t: ExecutionContext, program: string, folder = 'segments'): Promise<string> {
  const target = await temporaryDirectory(t);
  await writeFile(join(target, 'package.json'), '{"type":"module"}');
  await symlink(join(ROOT, 'node_modules'), join(target, 'node_modules'));
  for (const folder of ['src', 'test/helpers', 'test/stores']) {
    for (const name of await readdir(join(ROOT, folder), { recursive: true })) {
      if (!name.endsWith('.ts') || name.endsWith('.test.ts')) continue;
      const source = await readFile(join(ROOT, folder, name), 'utf8');
      const { outputText } = ts.transpileModule(source, {
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
      });
      const path = join(target, folder, name.replace(/ts$/, 'js'));
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, outputText);
    }
  }
  return join(target, 'test/stores', folder, program.replace(/ts$/, 'js'));
}
