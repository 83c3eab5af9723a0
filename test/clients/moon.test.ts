import { testTool } from './tool.js';
import { moon } from './tools/moon.js';

testTool(moon);
