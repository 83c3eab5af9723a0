import type { Tool } from '../tool.js';
import { buildWorkspace, expectedOutput, isHit, OUTPUT, prepareWorkspace } from '../turbo-workspace.js';

/** Returns turbo with these settings in turbo.json and these environment variables. */
export function turborepo(name: string, settings: object, environment: Record<string, string>): Tool {
  return {
    name,
    prepare: (directory, input) => prepareWorkspace(directory, input, settings),
    build: (directory, port, token) => buildWorkspace(directory, port, token, environment),
    output: OUTPUT,
    expected: expectedOutput,
    isHit,
    withUnknownToken: 'builds',
  };
}
