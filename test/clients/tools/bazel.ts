import { chmod, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configurationOf, configured } from '../configuration.js';
import { runLine } from '../run.js';
import type { Tool } from '../tool.js';

const BINARY = join(process.cwd(), 'node_modules/@bazel/bazel-linux_x64/bazel-2.1.0-linux-x86_64');
const [line = ''] = configurationOf('Bazel');

export const bazel: Tool = {
  name: 'bazel',
  async prepare(directory, input) {
    await mkdir(`${directory}/bin`, { recursive: true });
    await mkdir(`${directory}/workspace`);
    await writeFile(`${directory}/workspace/WORKSPACE`, '');
    const rule =
      'genrule(name="g", srcs=["input.txt"], outs=["out.txt"], cmd="for i in 1 2 3; do cat $(SRCS); done > $@")';
    await writeFile(`${directory}/workspace/BUILD`, rule);
    await writeFile(`${directory}/workspace/input.txt`, input);
    await symlink(BINARY, `${directory}/bin/real-bazel`);
    // --batch starts no background server. The local strategy needs no sandbox, which a container may not support.
    const script = `#!/bin/sh\nexec real-bazel --batch --output_user_root="$HOME/out" "$@" --spawn_strategy=local\n`;
    await writeFile(`${directory}/bin/bazel`, script);
    await chmod(`${directory}/bin/bazel`, 0o755);
  },
  async build(directory, port, token) {
    await runLine('chmod -R u+w home 2>/dev/null; true', directory, {});
    await rm(`${directory}/home`, { recursive: true, force: true });
    await mkdir(`${directory}/home`);
    const path = `${directory}/bin:${process.env['PATH']}`;
    return runLine(configured(line, port, token), `${directory}/workspace`, { HOME: `${directory}/home`, PATH: path });
  },
  output: 'workspace/bazel-bin/out.txt',
  expected: (input) => input.repeat(3),
  isHit: (log) => log.includes('remote cache hit'),
  withUnknownToken: 'builds',
};
