import { testTool } from './tool.js';
import { metro } from './tools/metro.js';

testTool(metro);
