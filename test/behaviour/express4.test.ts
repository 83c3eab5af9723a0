import { behaviour } from './behaviour.js';

behaviour('express4-http');
