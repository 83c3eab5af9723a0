import { testTool } from './tool.js';
import { ccache } from './tools/ccache.js';

testTool(ccache);
