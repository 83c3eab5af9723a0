import { behaviour } from './behaviour.js';

behaviour('https');
behaviour('h2');
behaviour('h2-compat');
behaviour('h2-compat-http1');
