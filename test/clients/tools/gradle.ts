import { mkdir, rm, writeFile } from 'node:fs/promises';
import { configurationOf, configured } from '../configuration.js';
import { runLine } from '../run.js';
import type { Tool } from '../tool.js';

const [settings = '', line = ''] = configurationOf('Gradle');

const BUILD = `
@CacheableTask
class Repeat extends DefaultTask {
  @InputFile @PathSensitive(PathSensitivity.RELATIVE) File input
  @OutputFile File output
  @TaskAction void run() { output.parentFile.mkdirs(); output.text = input.text * 10 }
}
task build(type: Repeat) { input = file('input.txt'); output = file('build/out.txt') }
`;

export const gradle: Tool = {
  name: 'gradle',
  peers: ['gradle'],
  async prepare(directory, input) {
    await writeFile(`${directory}/build.gradle`, BUILD);
    await writeFile(`${directory}/input.txt`, input);
  },
  async build(directory, port, token) {
    for (const path of ['build', '.gradle', 'home']) {
      await rm(`${directory}/${path}`, { recursive: true, force: true });
    }
    await mkdir(`${directory}/home`);
    const own = configured(settings, port, token).replace('buildCache {', 'buildCache {\n  local { enabled = false }');
    await writeFile(`${directory}/settings.gradle`, own);
    return runLine(`${line} --no-daemon --console plain`, directory, {
      HOME: `${directory}/home`,
      GRADLE_USER_HOME: `${directory}/home/gradle`,
    });
  },
  output: 'build/out.txt',
  expected: (input) => input.repeat(10),
  isHit: (log) => log.includes(':build FROM-CACHE'),
  withUnknownToken: 'builds',
};
