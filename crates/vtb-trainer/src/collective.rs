//! What the ranks of a run say to each other.
//!
//! Buffers live on the host: adapters' gradients are small, and any engine (MPI, NCCL) can be put behind this trait.

use crate::TrainError;

/// A group of ranks that call the same methods in the same order.
pub trait Collective: Send + Sync {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world(&self) -> usize;

    /// Replaces `values` by their sum over all ranks, the same bits on every rank. Equal lengths everywhere.
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), TrainError>;

    /// [`Collective::all_reduce_sum`] for counts and losses.
    fn all_reduce_sum_f64(&self, values: &mut [f64]) -> Result<(), TrainError>;

    /// Replaces `bytes` by those of `root`. Equal lengths everywhere.
    fn broadcast(&self, root: usize, bytes: &mut [u8]) -> Result<(), TrainError>;

    /// Returns once every rank has called it.
    fn barrier(&self) -> Result<(), TrainError>;
}

/// The group of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _values: &mut [f32]) -> Result<(), TrainError> {
        Ok(())
    }

    fn all_reduce_sum_f64(&self, _values: &mut [f64]) -> Result<(), TrainError> {
        Ok(())
    }

    fn broadcast(&self, root: usize, _bytes: &mut [u8]) -> Result<(), TrainError> {
        if root == 0 {
            return Ok(());
        }
        Err(TrainError::Config(format!(
            "rank {root} cannot broadcast in a group of one; the only rank is 0"
        )))
    }

    fn barrier(&self) -> Result<(), TrainError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_everything_stays_as_it_is() {
        let group: &dyn Collective = &Solo;
        let (mut a, mut b, mut c) = ([1.0f32, 2.0], [3.0f64], [4u8]);
        group.all_reduce_sum(&mut a).unwrap();
        group.all_reduce_sum_f64(&mut b).unwrap();
        group.broadcast(0, &mut c).unwrap();
        group.barrier().unwrap();
        assert_eq!((a, b, c), ([1.0, 2.0], [3.0], [4]));
        assert_eq!((group.rank(), group.world()), (0, 1));
        assert!(group.broadcast(1, &mut c).is_err());
    }
}
