import { behaviour } from './behaviour.js';

behaviour('fetch-http');
