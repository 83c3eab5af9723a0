import { behaviour } from './behaviour.js';

behaviour('http');
behaviour('h2c');
behaviour('h2c-compat');
