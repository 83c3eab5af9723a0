import { testTool } from './tool.js';
import { gradle } from './tools/gradle.js';

testTool(gradle);
