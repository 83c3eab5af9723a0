import { testTool } from './tool.js';
import { bazel } from './tools/bazel.js';

testTool(bazel);
