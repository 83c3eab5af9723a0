import { testTool } from './tool.js';
import { nx } from './tools/nx.js';

testTool(nx);
